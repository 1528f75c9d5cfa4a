"""Local folders and S3 behave alike: every test here runs on both, on S3 against a real server."""

import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suasion import storage
from suasion.errors import SuasionError

MIB = 2**20


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or a prefix in a bucket, with nothing in it yet."""
    if request.param == "local":
        return str(tmp_path / "there")
    return f"{request.getfixturevalue('s3').url}/some/there"


def read_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on; servers refuse to take such small ones."""
    from suasion.s3 import transfer

    monkeypatch.setattr(transfer, "PART", 7)


def asides(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.tmp")]


@pytest.mark.parametrize("size", [0, 1, 1000, 8 * MIB, 8 * MIB + 1, 20 * MIB + 3])
def test_what_is_put_is_read_and_fetched(place: str, size: int, tmp_path: Path) -> None:
    content, there = random.Random(size).randbytes(size), storage.join(place, "a", "b.tar")
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.write_bytes(content)
    storage.put(source, there, new=True)
    assert storage.size(there) == size
    assert storage.read(there) == content
    storage.fetch(there, target, size=size)
    assert target.read_bytes() == content
    storage.put(content[::-1], there, new=False)
    assert storage.read(there) == content[::-1]
    assert asides(tmp_path) == []


def test_ranges_are_those_of_a_slice(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(100))
    storage.put(content, storage.join(place, "x"), new=True)
    read_in_small_parts(monkeypatch)

    @given(start=st.integers(0, 120), end=st.none() | st.integers(0, 120))
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
    def check(start: int, end: int | None) -> None:
        assert storage.read(storage.join(place, "x"), start, end) == content[start:end]

    check()


def test_many_parts_come_in_their_places(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = random.Random(0).randbytes(7 * 40 + 3)
    storage.put(content, storage.join(place, "x"), new=True)
    read_in_small_parts(monkeypatch)
    with (tmp_path / "open").open("w+b") as file:
        file.truncate(len(content))
        storage.fetch_into(storage.join(place, "x"), file, size=len(content))
        file.seek(0)
        assert file.read() == content


def test_new_loses_against_what_is_there(place: str, tmp_path: Path) -> None:
    there = storage.join(place, "x")
    storage.put(b"first", there, new=True)
    (tmp_path / "large").write_bytes(bytes(9 * MIB))
    for content in (b"first", b"second", tmp_path / "large"):
        with pytest.raises(FileExistsError):
            storage.put(content, there, new=True)
    assert storage.read(there) == b"first"
    storage.put(b"second", there, new=False)
    assert storage.read(there) == b"second"


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_of_many_who_put_at_once_one_wins(place: str, size: int, same: bool) -> None:
    many = 8 if size < MIB else 3
    start = threading.Barrier(many)

    def put(number: int) -> int | None:
        start.wait()
        try:
            storage.put(bytes([0 if same else number]) * size, storage.join(place, "x"), new=True)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(many) as pool:
        won = [number for number in pool.map(put, range(many)) if number is not None]
    assert len(won) == 1
    assert storage.read(storage.join(place, "x")) == bytes([0 if same else won[0]]) * size
    assert storage.names(place) == ["x"]


def test_names_are_relative_sorted_and_of_this_folder_alone(place: str) -> None:
    assert storage.names(place) == []
    assert not storage.exists(place)
    for name in ("b", "a/z", "a/c/d", "ä ü+%?#.json"):
        storage.put(b"", storage.join(place, name), new=True)
    storage.put(b"", f"{place}-not", new=True)
    assert storage.names(place) == ["a/c/d", "a/z", "b", "ä ü+%?#.json"]
    assert storage.names(f"{place}/") == storage.names(place)
    assert storage.names(storage.join(place, "a")) == ["c/d", "z"]
    assert storage.names(storage.join(place, "b")) == []
    assert storage.exists(place)
    assert storage.exists(storage.join(place, "a"))
    assert storage.exists(storage.join(place, "b"))
    assert not storage.exists(storage.join(place, "a/c/d/e"))
    assert not storage.exists(storage.join(place, "ax"))
    assert storage.size(storage.join(place, "a")) is None


def test_what_is_not_there(place: str, tmp_path: Path) -> None:
    there, target = storage.join(place, "x"), tmp_path / "target"
    target.write_bytes(b"former")
    assert storage.size(there) is None
    storage.remove(there)
    requests: list[Callable[[], object]] = [
        lambda: storage.read(there),
        lambda: storage.read(there, 3, 3),
        lambda: storage.read(there, 3, 5),
        lambda: storage.fetch(there, target, size=5),
        lambda: storage.fetch(there, target, size=0),
    ]
    for request in requests:
        with pytest.raises(SuasionError, match="nothing is there") as caught:
            request()
        assert caught.value.where == there
    assert target.read_bytes() == b"former"
    assert asides(tmp_path) == []


def test_removed_is_gone(place: str) -> None:
    storage.put(b"1", storage.join(place, "x"), new=True)
    storage.remove(storage.join(place, "x"))
    assert storage.names(place) == []
    storage.put(b"2", storage.join(place, "x"), new=True)
    assert storage.read(storage.join(place, "x")) == b"2"


@pytest.mark.parametrize("size", [0, 5, 7, 20 * MIB])
def test_another_size_is_refused_and_the_target_stays(place: str, size: int, tmp_path: Path) -> None:
    there, target = storage.join(place, "x"), tmp_path / "target"
    storage.put(b"123456", there, new=True)
    target.write_bytes(b"former")
    with pytest.raises(SuasionError, match=f"6 bytes where {size} are expected"):
        storage.fetch(there, target, size=size)
    assert target.read_bytes() == b"former"
    assert asides(tmp_path) == []


PUT_FOR_EVER = """
    import sys
    from suasion import storage
    print("ready", flush=True)
    for number in range(1000):
        storage.put(bytes([number % 256]) * {size}, {there!r}, new=False)
"""


@pytest.mark.parametrize("size", [200_000, 17 * MIB])
def test_killed_at_any_moment_it_is_whole_or_not_there(place: str, size: int, tmp_path: Path) -> None:
    there, rng = storage.join(place, "x"), random.Random(size)
    for _ in range(2):
        script = textwrap.dedent(PUT_FOR_EVER.format(size=size, there=there))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.1, 1.0))
        process.kill()
        process.communicate()
        found = storage.size(there)
        assert found in (None, size)
        if found:
            content = storage.read(there)
            assert content == content[:1] * size
        assert storage.names(place) == ([] if found is None else ["x"])
    storage.put(b"next", there, new=False)
    assert storage.read(there) == b"next"
    assert asides(tmp_path) == []  # what the killed ones left has gone with the next


def test_a_fork_and_its_parent_both_go_on(place: str) -> None:
    there = storage.join(place, "x")
    storage.put(b"parent", there, new=True)
    child = os.fork()
    if child == 0:
        try:
            storage.put(storage.read(there) + b" and child", storage.join(place, "y"), new=True)
        finally:
            os._exit(0)
    assert storage.read(there) == b"parent"
    os.waitpid(child, 0)
    assert storage.read(storage.join(place, "y")) == b"parent and child"


def test_the_file_system_of_a_place(place: str) -> None:
    fs, path = storage.filesystem(place)
    storage.put(b"a\nb\n", storage.join(place, "votes", "1.csv"), new=True)
    assert [name.rpartition("/")[2] for name in fs.glob(f"{path}/votes/*.csv")] == ["1.csv"]
    storage.put(b"c\n", storage.join(place, "votes", "2.csv"), new=True)
    assert len(fs.glob(f"{path}/votes/*.csv")) == 2  # no listing of before
    with fs.open(f"{path}/votes/1.csv", "rb") as file:
        assert list(file) == [b"a\n", b"b\n"]
    assert fs.isdir(f"{path}/votes")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{path}/votes/3.csv", "rb").read()


URLS = [
    "s3://KEYPLANTED:SECRETPLANTED@bucket/x",
    "s3://SECRETPLANTED@bucket/x",
    "http://user:SECRETPLANTED@host/x",
    "s3://bucket/x?AWSAccessKeyId=KEYPLANTED&Signature=SECRETPLANTED",
    "https://host/x?X-Amz-Credential=KEYPLANTED&X-Amz-Signature=SECRETPLANTED",
    "s3://bucket/x?secret=SECRETPLANTED",
    "s3://bucket/x?key=KEYPLANTED&token=SECRETPLANTED",
]


@pytest.mark.parametrize("url", URLS)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    requests: list[Callable[[], object]] = [
        lambda: storage.filesystem(url),
        lambda: storage.size(url),
        lambda: storage.exists(url),
        lambda: storage.names(url),
        lambda: storage.read(url),
        lambda: storage.put(b"", url, new=True),
        lambda: storage.remove(url),
        lambda: storage.fetch(url, tmp_path / "x", size=1),
    ]
    for request in requests:
        with pytest.raises(SuasionError, match="a URL with credentials") as caught:
            request()
        assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket", "http://host/x"])
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(SuasionError, match="no place for files"):
        storage.read(url)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match="directory"):
        storage.read(tmp_path)
    assert storage.size(tmp_path) is None


def test_file_urls_and_paths_are_the_same(tmp_path: Path) -> None:
    storage.put(b"1", tmp_path / "x", new=True)
    assert storage.read(f"file://{tmp_path}/x") == b"1"
    assert not storage.is_remote(f"file://{tmp_path}/x")
    assert storage.is_remote("s3://bucket/x")


def test_rights_are_explained(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may do anything")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(SuasionError, match="access is denied"):
        storage.put(b"", tmp_path / "closed" / "x", new=True)


def test_writing_to_a_full_device_is_explained(place: str) -> None:
    storage.put(b"123", storage.join(place, "x"), new=True)
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(SuasionError, match="disk is full") as caught:
        storage.fetch_into(storage.join(place, "x"), full, size=3)
    assert caught.value.where == "/dev/full"


LIMITED = """
    import resource
    from pathlib import Path
    from suasion import storage
    from suasion.errors import SuasionError
    folder = Path({folder!r})
    {limit}
    for request in (
        lambda: storage.put(bytes(3_000_000), folder / "x", new=False),
        lambda: storage.fetch({there!r}, folder / "x", size=3_000_000),
    ):
        try:
            request()
            print("no error")
        except SuasionError as error:
            print(error.what, "|", error.where)
    print((folder / "x").read_bytes(), [path.name for path in folder.iterdir()])
"""


def test_files_that_may_not_grow_are_explained_and_nothing_is_left(place: str, tmp_path: Path) -> None:
    storage.put(bytes(3_000_000), storage.join(place, "large"), new=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"former")
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))"
    script = LIMITED.format(folder=str(tmp_path / "full"), there=storage.join(place, "large"), limit=limit)
    said = subprocess.check_output([sys.executable, "-c", textwrap.dedent(script)], text=True).splitlines()
    assert [line.split(" than ")[0] for line in said[:2]] == ["the file would be larger"] * 2
    assert all(line.endswith(str(tmp_path / "full" / "x")) or ".x." in line for line in said[:2])
    assert said[2] == "b'former' ['x']"


def test_a_full_disk_is_explained_and_nothing_is_left(place: str, tmp_path: Path) -> None:
    """On a file system of 2 MB in a name space of its own; skipped where the kernel does not let users make one."""
    folder = tmp_path / "full"
    folder.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=2m none {folder} && printf former > {folder}/x"
    if subprocess.run([*inside, mount], capture_output=True).returncode:
        pytest.skip("no name space of our own here")
    storage.put(bytes(3_000_000), storage.join(place, "large"), new=True)
    script = textwrap.dedent(LIMITED.format(folder=str(folder), there=storage.join(place, "large"), limit=""))
    command = [*inside, f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    said = subprocess.check_output(command, text=True).splitlines()
    assert [line.split(" | ")[0] for line in said[:2]] == ["the disk is full"] * 2
    assert said[2] == "b'former' ['x']"


def test_the_import_is_light() -> None:
    heavy = ("fsspec", "s3fs", "botocore", "aiohttp", "torch", "polars")
    script = f"import sys, suasion.storage; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
