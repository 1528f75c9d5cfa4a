"""Local copies of shards that lie elsewhere, in a folder of bounded size that any number of processes share.

A copy is called by its sha256, so it never goes stale; it is whole and right before it has that name. The copies that were used
longest ago make room. A copy that is in use when it is removed stays readable to who has it open, and is counted no more.
"""

import contextlib
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from suasion import storage
from suasion.errors import SuasionError
from suasion.shards.manifest import ShardFile

CACHE_BYTES = 50_000_000_000
_ASIDE = ".tmp"
_STALE = 3600
"""Seconds without a new byte after which a file is not being fetched any more, whatever the number of its process says."""


def cache_folder() -> Path:
    """`suasion/shards` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "suasion" / "shards"


def open_cached(place: str, shard: ShardFile, folder: Path, limit: int, *, verify: bool) -> int:
    """A descriptor of a local copy of `shard`, which lies at `place`.

    What is fetched is held against the manifest, and so is, with `verify`, a copy that was there; it is fetched again where it
    is another. At most `limit` bytes of copies are in `folder` at any time, what is still being fetched included; waits for
    others who fetch, where they have to end first.

    Raises:
        SuasionError: the shard does not fit, cannot be fetched, or is not what the manifest says; or the folder cannot be used.
    """
    try:
        return _open_cached(place, shard, folder, limit, verify=verify)
    except OSError as error:
        raise SuasionError(
            f"the cache of shards cannot be used: {error}",
            where=str(folder),
            do="make room and let yourself write there, or choose another folder: cache, or $XDG_CACHE_HOME",
        ) from None


def _open_cached(place: str, shard: ShardFile, folder: Path, limit: int, *, verify: bool) -> int:
    copy = folder / f"{shard.sha256}.tar"
    with contextlib.suppress(FileNotFoundError):
        return _copy(copy, shard, verify=verify)
    if shard.bytes > limit:
        raise SuasionError(
            f"{shard.name} has {shard.bytes} bytes, and the cache may have {limit}",
            where=str(folder),
            do="allow the cache more bytes, or write smaller shards: shard.bytes_per_shard",
        )
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{shard.sha256}.{os.getpid()}.{threading.get_ident()}{_ASIDE}"
    while not _reserved(folder, aside, shard.bytes, limit):
        time.sleep(0.05)
    try:
        with aside.open("r+b") as file:
            storage.fetch_into(place, file, size=shard.bytes)
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != shard.sha256:
                raise SuasionError(
                    f"{shard.name} has the sha256 {found}, not {shard.sha256} as the manifest says",
                    where=place,
                    do="write it again: dvc repro --force shard, with another shard.location or this object removed",
                )
            aside.replace(copy)  # from now on it can be removed to make room, and stays readable here
            return os.dup(file.fileno())
    finally:
        aside.unlink(missing_ok=True)


def _copy(path: Path, shard: ShardFile, *, verify: bool) -> int:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        right = os.fstat(file.fileno()).st_size == shard.bytes
        if right and verify:
            right = hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
        if right:
            os.utime(file.fileno())
            return os.dup(file.fileno())
    path.unlink(missing_ok=True)
    raise FileNotFoundError(path)


def _reserved(folder: Path, aside: Path, size: int, limit: int) -> bool:
    """Make `aside` count as `size` bytes from now on, if that many are left or can be made free."""
    with _locked(folder):
        if not _make_room(folder, limit - size):
            return False
        with aside.open("wb") as file:
            file.truncate(size)
        return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_room(folder: Path, limit: int) -> bool:
    """Remove copies, longest unused first, until at most `limit` bytes are left, and what dead processes left aside.

    Returns whether that is so; if it is not, others are fetching more than that.
    """
    copies: list[tuple[float, int, Path]] = []
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if path.suffix == _ASIDE and not _fetching(path, status.st_mtime):
                path.unlink()
            elif path.suffix == _ASIDE:
                total += status.st_size
            elif path.suffix == ".tar":
                copies.append((status.st_mtime, status.st_size, path))
    total += sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total <= limit


def _fetching(aside: Path, written: float) -> bool:
    process = aside.name.split(".")[1]
    if not process.isdecimal() or time.time() - written > _STALE:
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
