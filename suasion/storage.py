"""Files and objects: local paths and `s3://BUCKET/KEY` behave alike, and what is published is there whole or not at all.

Locally a file is written aside, brought to the disk and renamed; an object of S3 appears with the end of its upload. What
must be new loses against what is there (a hard link; `If-None-Match`). A request to S3 is tried again until a deadline, which
holds for it and all its attempts: a large object may take as long as it keeps coming. Credentials come from the environment
and AWS's own files alone. Given up: other storages, except for reading votes through `filesystem`.
"""

import contextlib
import errno
import fcntl
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from suasion.errors import SuasionError

if TYPE_CHECKING:
    from suasion.s3.client import S3

DEADLINE = 120.0  # seconds

Place = str | Path

_S3 = "s3://"
_FILE = "file://"
_USER = re.compile(r"^([a-z0-9+.-]+://)[^/]*@|^(s3://)(?!arn:)[^/@:]*:.*@", re.IGNORECASE)  # a secret may hold a slash
_QUERY = re.compile(
    r"[?&](x-amz-[a-z-]+|awsaccesskeyid|(aws_|access_)?(access_?)?key(_?id)?|sig(nature)?|secret\w*|(session_?)?token"
    r"|password)=",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\..*\.tmp")
_CANNOT = {
    errno.ENOSPC: ("the disk is full", "make room there"),
    errno.EDQUOT: ("the quota of the disk is used up", "make room there"),
    errno.EFBIG: ("the file would be larger than the file system or `ulimit -f` allows", "raise the limit"),
    errno.EACCES: ("access is denied", "look at the rights of the file and of the folders above it"),
    errno.EPERM: ("this is not permitted", "look at the rights of the file and of the folders above it"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
}


class NothingThereError(SuasionError):
    """There is no such file or object."""


def is_remote(place: Place) -> bool:
    """Whether `place` is a URL of something that is no local file."""
    return "://" in str(place) and not str(place).startswith(_FILE)


def join(place: Place, *names: str) -> str:
    """The place `names` below a folder or prefix."""
    return "/".join([str(place).rstrip("/"), *names])


def filesystem(place: Place, *, deadline: float = DEADLINE) -> tuple[Any, str]:
    """The fsspec file system of any URL or path, and the path in it; on S3 one that tries again and caches no listings.

    Raises:
        SuasionError: the URL holds credentials, or its kind is unknown.
    """
    refuse_secrets(place)
    if str(place).startswith(_S3):
        from suasion.s3.client import connect

        return connect(deadline), str(place).removeprefix(_S3)
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(str(place))
    except (ValueError, ImportError) as error:
        raise SuasionError(f"cannot be opened: {error}", where=str(place), do="use a local path, or s3://") from None
    return fs, path


def size(place: Place, *, deadline: float = DEADLINE) -> int | None:
    """Bytes of the file or object; None where there is none.

    Raises:
        SuasionError: it cannot be asked for: no such bucket, no or wrong credentials, the deadline has passed, ...
    """
    with _explained(place):
        if not is_remote(place):
            path = _local(place)
            return path.stat().st_size if path.is_file() else None
        s3, bucket, key = _remote(place, deadline)
        with contextlib.suppress(FileNotFoundError):
            return int(_run(s3, s3.request("head_object", Bucket=bucket, Key=key))["ContentLength"])
        return None


def exists(place: Place, *, deadline: float = DEADLINE) -> bool:
    """Whether there is a file or object, or a folder or prefix with something in it. Raises as `size` does."""
    if not is_remote(place):
        with _explained(place):
            path = _local(place)
            return path.is_file() or (path.is_dir() and any(path.iterdir()))
    s3, bucket, key = _remote(place, deadline, prefix=True)
    if key and size(place, deadline=deadline) is not None:
        return True
    with _explained(place):
        return bool(
            _run(s3, s3.request("list_objects_v2", Bucket=bucket, Prefix=_below(key), MaxKeys=1)).get("KeyCount")
        )


def names(place: Place, *, deadline: float = DEADLINE) -> list[str]:
    """The files below a folder, or the objects below a prefix, relative to it and sorted; none where nothing is.

    What is still being written is not among them. Raises as `size` does.
    """
    with _explained(place):
        if not is_remote(place):
            return sorted(_files(_local(place)))
        s3, bucket, key = _remote(place, deadline, prefix=True)
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = _run(s3, s3.request("list_objects_v2", Bucket=bucket, Prefix=_below(key), **more))
            found += [item["Key"][len(_below(key)) :] for item in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return sorted(name for name in found if name and not name.endswith("/"))
            more = {"ContinuationToken": page["NextContinuationToken"]}


def read(place: Place, start: int = 0, end: int | None = None, *, deadline: float = DEADLINE) -> bytes:
    """The bytes from `start` to before `end`, or as many as there are.

    Raises:
        SuasionError: nothing is there, it changed while it was read, and as `size` does.
    """
    with _explained(place):
        if is_remote(place):
            from suasion.s3.transfer import read_range

            s3, bucket, key = _remote(place, deadline)
            content: bytes = _run(s3, read_range(s3, bucket, key, start, end))
            return content
        with _local(place).open("rb") as file:
            file.seek(start)
            return file.read(-1 if end is None else max(end - start, 0))


def fetch(place: Place, target: Path, *, size: int, deadline: float = DEADLINE) -> None:
    """Bring the file or object of `size` bytes to the local file `target`, which is there whole, and on the disk, or as before.

    Raises:
        SuasionError: as `fetch_into` does.
    """
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _aside(target) as file:
            _fetch(place, file, target, size, deadline)
            os.fsync(file.fileno())
            os.replace(file.name, target)
        _fsync_folder(target.parent)


def fetch_into(place: Place, file: IO[bytes], *, size: int, deadline: float = DEADLINE) -> None:
    """Bring the file or object of `size` bytes into an open file, from its beginning: by parts, several at a time.

    Raises:
        SuasionError: nothing is there, it has another size, it changed meanwhile, the disk is full, and as the function `size`.
    """
    _fetch(place, file, file.name, size, deadline)


def _fetch(place: Place, file: IO[bytes], name: Place, size: int, deadline: float) -> None:
    if is_remote(place):
        from suasion.s3.transfer import download

        s3, bucket, key = _remote(place, deadline)
        with _explained(place, file=name):
            _run(s3, download(s3, bucket, key, file.fileno(), size))
        return
    with _explained(place), _local(place).open("rb") as source:
        found = os.fstat(source.fileno()).st_size
        if found != size:
            raise SuasionError(
                f"{found} bytes where {size} are expected",
                where=str(place),
                do="it is not what its manifest says: remove it and write it again",
            )
        with _explained(name):
            file.seek(0)
            shutil.copyfileobj(source, file, 2**20)
            file.flush()


def put(content: bytes | Path, place: Place, *, new: bool, deadline: float = DEADLINE) -> None:
    """Publish bytes, or a local file's, at `place`: there is the whole of it, on the disk, or what was there before.

    Raises:
        FileExistsError: `new`, and something is there that another call has put.
        SuasionError: the storage is full, and as `size` does.
    """
    with _explained(place):
        if is_remote(place):
            from suasion.s3.transfer import upload

            s3, bucket, key = _remote(place, deadline)
            _run(s3, upload(s3, content, bucket, key, new=new))
            return
        path = _local(place)
        if new and path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _aside(path) as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 2**20)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
            (os.link if new else os.replace)(file.name, path)
        _fsync_folder(path.parent)


def remove(place: Place, *, deadline: float = DEADLINE) -> None:
    """Remove the file or object, if there is one. Raises as `size` does."""
    with _explained(place):
        if is_remote(place):
            s3, bucket, key = _remote(place, deadline)
            _run(s3, s3.request("delete_object", Bucket=bucket, Key=key))
        else:
            _local(place).unlink(missing_ok=True)


def refuse_secrets(place: Place) -> None:
    """See that a URL holds no credentials.

    Raises:
        SuasionError: it does; the message has the URL without them.
    """
    url = str(place)
    if is_remote(place) and (_USER.match(url) or _QUERY.search(url)):
        raise SuasionError(
            "a URL with credentials in it",
            where=_USER.sub(r"\1\2***@", url.partition("?")[0]),
            do="take them out: they come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or ~/.aws alone",
        )


def _local(place: Place) -> Path:
    return Path(str(place).removeprefix(_FILE))


def _remote(place: Place, deadline: float, *, prefix: bool = False) -> "tuple[S3, str, str]":
    """Client, bucket and key."""
    refuse_secrets(place)
    url = str(place)
    bucket, _, key = url.removeprefix(_S3).partition("/")
    if not url.startswith(_S3) or not bucket or not (key or prefix):
        raise SuasionError(f"{url} is no place for files", where=url, do="use a local path, or s3://BUCKET/KEY")
    from suasion.s3.client import connect

    return connect(deadline), bucket, key


def _run(s3: "S3", coroutine: Any) -> Any:
    from suasion.s3.client import run

    return run(s3, coroutine)


def _below(key: str) -> str:
    return f"{key.rstrip('/')}/" if key else ""


def _files(folder: Path) -> Iterator[str]:
    for parent, _, found in os.walk(folder):
        for name in found:
            path = Path(parent, name)
            if path.is_file() and not _ASIDE.fullmatch(name):
                yield path.relative_to(folder).as_posix()


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[IO[bytes]]:
    """A new file beside `target`, removed at the end if it is still there.

    It is locked, and the kernel takes the lock away from who dies: so what a killed process left is told from what a living one
    writes, and removed.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with contextlib.suppress(OSError), left.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
    while True:
        aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        new = aside.open("xb")
        fcntl.flock(new, fcntl.LOCK_EX)
        if aside.exists():  # else another has taken it for one that was left, before it was locked
            break
        new.close()
    try:
        yield new
    finally:
        aside.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what a full disk did not take fails here once more
            new.close()


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(place: Place, *, file: Place | None = None) -> Iterator[None]:
    """Errors of files as a `SuasionError`, except that something is there already; `file` is the local one of the two."""
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        where = str(error.filename or place)
        raise NothingThereError("nothing is there", where=where, do="look at its name; or run what writes it") from None
    except OSError as error:
        what, do = _CANNOT.get(error.errno or 0, (f"{error.strerror or error}", "look at the place"))
        raise SuasionError(what, where=str(error.filename or file or place), do=do) from None
