import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from suasion.errors import SuasionError
from suasion.shards.cache import open_cached
from suasion.shards.manifest import ShardFile

CONTENT = b"a shard" * 1000
SHARD = ShardFile("test-00000.tar", "test", 1, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Where the shard lies."""
    (tmp_path / SHARD.name).write_bytes(CONTENT)
    return str(tmp_path / SHARD.name)


def read(place: str, folder: Path, *, limit: int = 10**9, verify: bool = True, shard: ShardFile = SHARD) -> bytes:
    with os.fdopen(open_cached(place, shard, folder, limit, verify=verify), "rb") as file:
        file.seek(0)
        return file.read()


def test_a_damaged_copy_is_fetched_again(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "cache"
    assert read(place, folder) == CONTENT
    (copy,) = folder.glob("*.tar")
    for damaged in (CONTENT[:-1], CONTENT + b"\0", b"", b"b" + CONTENT[1:]):
        copy.write_bytes(damaged)
        assert read(place, folder) == CONTENT
        assert copy.read_bytes() == CONTENT
    copy.unlink()
    os.mkfifo(copy)
    assert read(place, folder) == CONTENT


def test_a_copy_needs_no_storage(tmp_path: Path, place: str) -> None:
    assert read(place, tmp_path / "cache") == CONTENT
    Path(place).unlink()
    assert read(place, tmp_path / "cache") == CONTENT


def test_other_bytes_than_the_manifest_says_are_never_a_copy(tmp_path: Path, place: str) -> None:
    Path(place).write_bytes(b"b" + CONTENT[1:])
    with pytest.raises(SuasionError, match="has the sha256"):
        read(place, tmp_path / "cache", verify=False)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"lock"}


def test_what_others_left_in_the_folder_is_no_error(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    left = ["x.tmp", "x.y.tmp", f"x.{2**70}.1.tmp", "x.999999999.1.tmp", ".tmp", "notes.txt", "-1.-1.tmp"]
    for name in left:
        (folder / name).write_bytes(b"x")
    (folder / "folder").mkdir()
    fetching, stale = (folder / f"{name}.{os.getpid()}.1.tmp" for name in ("fetching", "stale"))
    fetching.write_bytes(b"x")
    stale.write_bytes(b"x")
    os.utime(stale, (0, 0))
    assert read(place, folder) == CONTENT
    there = {path.name for path in folder.iterdir()}
    assert there == {"lock", "folder", ".tmp", "notes.txt", fetching.name, f"{SHARD.sha256}.tar"}


@pytest.mark.parametrize("kind", ["file", "under a file", "lock is a folder", "copy is a folder"])
def test_a_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path, place: str, kind: str) -> None:
    folder = tmp_path / "cache"
    if kind in ("file", "under a file"):
        folder.write_bytes(b"")
        folder = folder if kind == "file" else folder / "more"
    else:
        (folder / ("lock" if kind.startswith("lock") else f"{SHARD.sha256}.tar")).mkdir(parents=True)
    with pytest.raises(SuasionError, match="the cache of shards cannot be used") as caught:
        read(place, folder)
    assert caught.value.where == str(folder)


def test_a_shard_larger_than_the_cache_is_one_clear_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(SuasionError, match=f"has {len(CONTENT)} bytes, and the cache may have {len(CONTENT) - 1}"):
        read(place, tmp_path / "cache", limit=len(CONTENT) - 1)


def test_who_finds_no_room_waits_for_those_who_fetch(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    fetching = folder / f"other.{os.getpid()}.1.tmp"
    fetching.write_bytes(bytes(100))
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(read(place, folder, limit=len(CONTENT) + 50)))
    waiting.start()
    time.sleep(0.3)
    assert found == []
    fetching.rename(folder / "other.tar")  # has been fetched, and can go
    waiting.join(timeout=10)
    assert found == [CONTENT]
    assert not (folder / "other.tar").exists()


def test_threads_that_want_the_same_shard_do_not_meet(tmp_path: Path, place: str) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(read(place, tmp_path / "cache"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert found == [CONTENT] * 8
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"lock", f"{SHARD.sha256}.tar"}
