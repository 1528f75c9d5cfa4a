"""Local copies of shards that lie elsewhere, in a folder of bounded size that any number of processes share.

A copy is called by its sha256, so it never goes stale; it is whole and right before it has that name. The copies that were used
longest ago make room. A copy that is in use when it is removed stays readable to who has it open, and is counted no more.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from suasion import storage
from suasion.errors import SuasionError
from suasion.shards.manifest import ShardFile

CACHE_BYTES = 50_000_000_000
_ASIDE = ".tmp"


def cache_folder() -> Path:
    """`suasion/shards` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "suasion" / "shards"


def open_cached(place: str, shard: ShardFile, folder: Path, limit: int) -> tuple[int, bool]:
    """A descriptor of a local copy of `shard`, which lies at `place`, and whether its sha256 was checked just now.

    At most `limit` bytes of copies are in `folder` at any time, what is still being fetched included.

    Raises:
        SuasionError: the shard does not fit, cannot be fetched, or is not what the manifest says.
    """
    copy = folder / f"{shard.sha256}.tar"
    with contextlib.suppress(FileNotFoundError):
        return _opened(copy, shard.bytes), False
    if shard.bytes > limit:
        raise SuasionError(
            f"{shard.name} has {shard.bytes} bytes, and the cache may have {limit}",
            where=str(folder),
            do="allow the cache more bytes, or write smaller shards: shard.bytes_per_shard",
        )
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{shard.sha256}.{os.getpid()}{_ASIDE}"
    with _locked(folder):
        _make_room(folder, limit - shard.bytes)
        with aside.open("wb") as file:
            file.truncate(shard.bytes)  # counted from now on
    try:
        storage.fetch(place, aside, size=shard.bytes)
        with aside.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            raise SuasionError(
                f"{shard.name} has the sha256 {found}, not {shard.sha256} as the manifest says",
                where=place,
                do="write it again: dvc repro --force shard, with another shard.location or this object removed",
            )
        aside.replace(copy)
        return _opened(copy, shard.bytes), True
    finally:
        aside.unlink(missing_ok=True)


def _opened(copy: Path, size: int) -> int:
    descriptor = os.open(copy, os.O_RDONLY | os.O_NONBLOCK)
    if os.fstat(descriptor).st_size != size:
        os.close(descriptor)
        copy.unlink(missing_ok=True)
        raise FileNotFoundError(copy)
    os.utime(descriptor)
    return descriptor


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_room(folder: Path, limit: int) -> None:
    """Remove copies, longest unused first, until at most `limit` bytes are left; and what dead processes left aside."""
    copies: list[tuple[float, int, Path]] = []
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if path.suffix == _ASIDE and not _alive(int(path.name.split(".")[1])):
                path.unlink()
            elif path.suffix == _ASIDE:
                total += status.st_size
            elif path.suffix == ".tar":
                copies.append((status.st_mtime, status.st_size, path))
    total += sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
