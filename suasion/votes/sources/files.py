"""What sources share: rows of files wherever they lie, images below a folder, values as votes need them, snapshots.

Paths are local, or whatever fsspec opens (`s3://...`), or `hub:OWNER/NAME@REVISION`, a data set of the Hugging Face hub.
Rows and images are untrusted: a path never leaves its folder, a read is capped, a value of a wrong type is none. Given up:
compressed votes files.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from suasion.errors import SuasionError
from suasion.images.check import MAX_BYTES
from suasion.params import data_folder
from suasion.votes.sources import BadRow, ImageRef, RawVote
from suasion.votes.sources._formats import rows_of_file

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
MAX_RANKED = 100
"""Images of one ranking: n images are n (n - 1) / 2 votes."""

_HUB = "hub:"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SWAPPED = {"a": "b", "b": "a"}


def locate(path: str) -> str:
    """Where `path` of the parameters is: relative ones are below the data folder, URLs and absolute ones stay."""
    return path if "://" in path or path.startswith((_HUB, "/")) else str(data_folder() / path)


def rows(path: str, *, batch: int = 256) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """The rows of a file, of a glob pattern or of a folder's files by name, each with `<file>:<number from 1>`.

    `path` is located; Parquet is read `batch` rows at a time. What is no row is a `BadRow` with `row_unreadable`.

    Raises:
        SuasionError: nothing is there, or it cannot be read.
    """
    if path.startswith(_HUB):
        yield from _hub_rows(path)
        return
    files, names = _files(path)
    for file, name in zip(files, names, strict=True):
        try:
            with file.open() as opened:
                yield from rows_of_file(opened, name, batch=batch)
        except OSError as error:
            raise SuasionError(
                f"cannot be read: {error}", where=file.path, do="look whether it can be opened"
            ) from None


def check_columns(found: Sequence[str], needed: Sequence[str], *, where: str, verified: bool = True) -> None:
    """See that the columns `needed` are among those `found`.

    Raises:
        SuasionError: one is missing; the message has the columns found beside the columns expected.
    """
    missing = [name for name in needed if name not in found]
    if missing:
        doubt = "" if verified else "; the published schema could not be verified when this source was written"
        raise SuasionError(
            f"no column {', '.join(missing)}: found {', '.join(found)}; expected {', '.join(needed)}{doubt}",
            where=where,
            do="see docs/data.md for the layout of a public data set, docs/bring-your-own-votes.md for your own",
        )


def read_checked(
    path: str, needed: Sequence[str], *, verified: bool = True
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """`rows`, with `check_columns` on the first good row of each file."""
    checked: set[str] = set()
    for where, row in rows(path):
        file = where.rpartition(":")[0]
        if file not in checked and not isinstance(row, BadRow):
            check_columns([*row], needed, where=f"{path}: {file}", verified=verified)
            checked.add(file)
        yield where, row


@dataclass(frozen=True)
class FileImage:
    """An image file, by its path below `root` (a folder or a URL)."""

    root: str
    name: str

    def read(self) -> bytes:
        """The file's bytes, of one that is too large `MAX_BYTES + 1`. Raises `OSError` where none is below `root`."""
        with fsspec.open(self._path()) as file:
            content: bytes = file.read(MAX_BYTES + 1)
        return content

    def _path(self) -> str:
        hub = f"hf://datasets/{self.root.removeprefix(_HUB)}/"
        if self.root.startswith(_HUB) and self.name.startswith(hub):  # as `datasets` names files that it streams
            path, inside = self.name, self.name.removeprefix(hub)
        else:
            path, inside = f"{self.root.rstrip('/')}/{self.name}", self.name
        parts = PurePosixPath(inside).parts
        if not parts or ".." in parts or inside.startswith("/") or "\0" in inside or "::" in inside:
            raise FileNotFoundError(self.name)
        if "://" in path:
            return path
        local = Path(path).resolve()
        if not local.is_file() or not local.is_relative_to(Path(self.root).resolve()):
            raise FileNotFoundError(self.name)
        return str(local)


@dataclass(frozen=True)
class BytesImage:
    """An image whose bytes are in the row; its name is their hash."""

    name: str
    content: bytes

    def read(self) -> bytes:
        return self.content


@dataclass(frozen=True)
class NoImage:
    """Where no image is given."""

    name: str

    def read(self) -> bytes:
        raise FileNotFoundError(self.name)


def as_image(value: Any, root: str) -> ImageRef:
    """The image that a field holds: a path below `root`, bytes, or a mapping with `bytes` and `path` as `datasets` has."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return BytesImage(hashlib.sha256(value).hexdigest(), value)
    if isinstance(value, str) and value:
        return FileImage(root, value)
    return NoImage("no image" if value in (None, "", b"") else f"no image but {type(value).__name__}")


def ranking_votes(
    row: str, prompt: str, images: Sequence[ImageRef], ranks: Sequence[float], **fields: Any
) -> Iterator[RawVote | BadRow]:
    """A vote for every pair of a ranking: the lower rank is better, equal ranks tie; `fields` are those of `RawVote`."""
    numbers = [_finite(rank) for rank in ranks]
    if len(images) != len(ranks) or not 2 <= len(images) <= MAX_RANKED or None in numbers:
        detail = f"{len(images)} images and {len(ranks)} ranks; 2 to {MAX_RANKED} of each, as numbers"
        yield BadRow(row, "ranking_malformed", detail)
        return
    for one, two in itertools.combinations(range(len(images)), 2):
        first, second = float(numbers[one] or 0), float(numbers[two] or 0)
        choice = "tie" if first == second else "a" if first < second else "b"
        yield in_fair_order(
            RawVote(f"{row}#{one + 1}-{two + 1}", prompt, images[one], images[two], choice=choice, **fields)
        )


def in_fair_order(vote: RawVote) -> RawVote:
    """`vote` with A and B in an order that a coin made of prompt and images decides, whichever order they came in.

    For data sets whose order tells the winner.
    """
    small, large = sorted((vote.image_a.name, vote.image_b.name))
    coin = hashlib.sha256("\0".join((vote.prompt, small, large)).encode("utf-8", "replace")).digest()[0] & 1
    if vote.image_a.name == (large if coin else small):
        return vote
    return replace(
        vote,
        image_a=vote.image_b,
        image_b=vote.image_a,
        model_a=vote.model_b,
        model_b=vote.model_a,
        choice=_SWAPPED.get(vote.choice, vote.choice),
    )


def text(value: Any) -> str | None:
    """A field as text; None where it is empty, no number (NaN) or no plain value."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or isinstance(value, bytes | list | dict):
        return None
    return str(value).encode("utf-8", "replace").decode() or None


def number(value: Any) -> float:
    """The number in a field: 1 where it is empty, 0 (which ingest drops) where it is none."""
    return 1.0 if value is None or value == "" else _finite(value) or 0.0


def time(value: Any) -> datetime | None:
    """A time without zone, in UTC: of ISO 8601, a datetime, or seconds (or milliseconds) since 1970; else None."""
    try:
        if isinstance(value, str) and not _is_number(value):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, datetime):
            zone = value.tzinfo
            parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
            found = datetime(*parts, tzinfo=zone)  # of a subclass, the plain time
        else:
            seconds = _finite(value)
            if seconds is None:
                return None
            found = datetime.fromtimestamp(seconds if abs(seconds) < 1e11 else seconds / 1000, UTC)
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def snapshot_of(path: str, root: str | None, image_columns: Sequence[str]) -> str:
    """sha256 (hex) over the names and the sha256 of the rows files, then of every local image that they name.

    The images are those that `image_columns` name (a path, or a list of paths) below `root`; where `root` is null or a
    URL, only the rows files are hashed. Of the hub the commit is the snapshot.
    """
    if path.startswith(_HUB):
        name, revision = _hub(path)
        if revision:
            return revision
        path, root = name, None
    digest = hashlib.sha256()
    files, names = _files(path)
    for file, name in zip(files, names, strict=True):
        with file.open() as opened:
            digest.update(f"{name}\0{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    for name in sorted(_named(path, image_columns)) if root is not None and "://" not in root else []:
        try:
            content = FileImage(str(root), name).read()
        except OSError:
            content = b""
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def check_snapshot(found: str, wanted: str, where: str) -> None:
    """See that the data are those that the parameters name.

    Raises:
        SuasionError: they are not; the message has the snapshot to set.
    """
    if found != wanted:
        raise SuasionError(
            f"the data have the snapshot {found}, not {wanted}",
            where=where,
            do=f"if they changed as you wanted, set this source's snapshot in ingest.sources of the profile to {found}",
        )


def folder_of(path: str) -> str:
    """The folder of a located file or pattern, or the folder itself: where image paths start unless they say otherwise."""
    if path.startswith(_HUB):
        return path
    fixed = path[: next((at for at, char in enumerate(path) if char in "*?["), len(path))]
    if fixed == path and not path.lower().endswith(ENDINGS):
        return path
    return fixed.rpartition("/")[0]


@dataclass(frozen=True)
class _File:
    fs: Any
    path: str

    def open(self) -> Any:
        return self.fs.open(self.path, "rb")


def _files(path: str) -> tuple[list[_File], list[str]]:
    """The files of a path, and their names: as short as they can be and still differ."""
    try:
        fs, inner = url_to_fs(path)
        if fs.isfile(inner):
            found = [inner]
        elif fs.isdir(inner):
            found = [name for name in sorted(fs.ls(inner, detail=False)) if name.lower().endswith(ENDINGS)]
        else:
            found = sorted(fs.glob(inner)) if any(char in inner for char in "*?[") else []
    except Exception as error:  # every storage has errors of its own
        raise SuasionError(
            f"cannot be listed: {type(error).__name__}: {str(error)[:200]}",
            where=path,
            do="look whether it can be reached, and whether its credentials are set",
        ) from None
    if not found:
        raise SuasionError(
            f"no votes file at {path}",
            where=path,
            do=f"put a file there that ends in {', '.join(ENDINGS)}, or set SUASION_DATA to the folder that holds it",
        )
    names = [name.rpartition("/")[2] for name in found]
    if len({*names}) < len(names):
        shared = len(folder_of(path).rstrip("/")) + 1 if "://" not in path else 0
        names = [name[shared:] for name in found]
    return [_File(fs, name) for name in found], names


def _named(path: str, columns: Sequence[str]) -> set[str]:
    """Every image path in the columns."""
    found: set[str] = set()
    for _, row in rows(path) if columns else ():
        for value in [] if isinstance(row, BadRow) else [row.get(column) for column in columns]:
            for item in value if isinstance(value, list) else [value]:
                item = item.get("path") if isinstance(item, Mapping) and not item.get("bytes") else item
                if not isinstance(item, bytes | Mapping):
                    found.add(str(item or ""))
    return found


def _hub(path: str) -> tuple[str, str]:
    """Name and commit; a local folder, which needs no commit, can stand in the name's place."""
    name, _, revision = path.removeprefix(_HUB).partition("@")
    if not revision and Path(name).is_dir():
        return name, ""
    if not _COMMIT.fullmatch(revision):
        raise SuasionError(
            f"the revision {revision!r} is no commit",
            where=path,
            do="write hub:OWNER/NAME@ and the 40 digits of the commit, so that the data cannot change",
        )
    return name, revision


def _hub_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    import datasets

    name, revision = _hub(path)
    try:
        splits = datasets.load_dataset(name, revision=revision or None, streaming=True)
        for split, part in splits.items():
            for number_, row in enumerate(part.decode(False), start=1):
                yield f"{split}:{number_}", row
    except SuasionError:
        raise
    except Exception as error:  # of the network, of the hub, of the files
        raise SuasionError(
            f"cannot be read: {type(error).__name__}: {str(error)[:300]}",
            where=path,
            do="look whether name and revision are right and the hub can be reached; then run again",
        ) from None


def _finite(value: Any) -> float | None:
    try:
        found = float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _is_number(value: str) -> bool:
    return _finite(value) is not None
