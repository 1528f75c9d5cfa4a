"""What sources share: rows of files wherever they lie, images below a folder, values as votes need them, snapshots.

Paths are local, or `s3://BUCKET/KEY`, or whatever else fsspec opens, or `hub:OWNER/NAME@REVISION`, a data set of the Hugging
Face hub. Rows and images are untrusted: a path never leaves its folder, a read is capped, a value of a wrong type is none.
Given up: compressed votes files.
"""

import hashlib
import itertools
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from suasion import storage
from suasion.errors import SuasionError
from suasion.images.check import MAX_BYTES
from suasion.images.intake import READERS
from suasion.votes.sources import BadRow, ImageRef, RawVote
from suasion.votes.sources._places import HUB, files_at, folder_of, hub_name, locate, rows

MAX_RANKED = 100
"""Images of one ranking: n images are n (n - 1) / 2 votes."""

_S3 = "s3://"
_MAX_KEY = 1024  # bytes of an object's key, S3's own limit
_MANY = 1000  # images that are asked for in one go

__all__ = [
    "as_image",
    "check_columns",
    "check_snapshot",
    "folder_of",
    "in_fair_order",
    "locate",
    "number",
    "ranking_votes",
    "read_checked",
    "rows",
    "snapshot_of",
    "text",
    "time",
]

_SWAPPED = {"a": "b", "b": "a"}


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
    """An image file, by its path below `root` (a folder or a URL); an absolute path may be one that leads below it."""

    root: str
    name: str

    @property
    def remote(self) -> bool:
        return self.root.startswith(_S3)

    def read(self) -> bytes:
        """The file's bytes, of one that is too large `MAX_BYTES + 1`.

        Raises:
            OSError: none is below `root`.
            SuasionError: S3 does not let us look whether one is.
        """
        if self.remote:
            return _read_object(self.root, self.name)
        hub = f"hf://datasets/{self.root.removeprefix(HUB)}/"
        if self.root.startswith(HUB) and self.name.startswith(hub):  # as `datasets` names files that it streams
            return _read_url(hub, self.name.removeprefix(hub))
        if self.root.startswith(HUB) and "@" in self.root:
            return _read_url(hub, self.name)
        if "://" in self.root:
            return _read_url(f"{self.root.rstrip('/')}/", self.name)
        root = Path(self.root.removeprefix(HUB)).resolve()
        try:
            path = (root / self.name).resolve()
        except ValueError:  # a zero byte
            raise FileNotFoundError(self.name) from None
        if not path.is_relative_to(root) or not path.is_file():
            raise FileNotFoundError(self.name)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)


def _read_object(root: str, name: str) -> bytes:
    """The object that a file of that path would be, if the prefix `root` were a folder."""
    inner = posixpath.normpath(name.removeprefix(f"{root.rstrip('/')}/"))
    steps = inner.replace("\\", "/").split("/")  # servers differ in what a backslash is
    if "\0" in inner or inner.startswith("/") or not {"", ".", ".."}.isdisjoint(steps):
        raise FileNotFoundError(name)
    place = storage.join(root, inner)
    try:
        key = place.removeprefix(_S3).partition("/")[2].encode()
    except UnicodeEncodeError:  # half a character, which no key has
        raise FileNotFoundError(name) from None
    if len(key) > _MAX_KEY:
        raise FileNotFoundError(name)
    try:
        return storage.read(place, 0, MAX_BYTES + 1)
    except storage.NothingThereError:
        raise FileNotFoundError(name) from None


def _read_url(prefix: str, name: str) -> bytes:
    if not name or name.startswith("/") or ".." in name.split("/") or "::" in name:
        raise FileNotFoundError(name)
    with fsspec.open(prefix + name) as file:
        content: bytes = file.read(MAX_BYTES + 1)
    return content


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
    """sha256 (hex) over the names and the sha256 of the rows files, then of every image that they name.

    The images are those that `image_columns` name (a path, or a list of paths) below `root`, a folder or `s3://` prefix: the
    same files give the same snapshot in both. Elsewhere, and where `root` is null, only the rows files are hashed. Of the
    hub the commit is the snapshot.
    """
    if path.startswith(HUB):
        name, revision = hub_name(path)
        if revision:
            return revision
        path, root = name, None
    digest = hashlib.sha256()
    files, names = files_at(path)
    for file, name in zip(files, names, strict=True):
        with file.open() as opened:
            digest.update(f"{name}\0{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    if root is not None and ("://" not in root or root.startswith(_S3)):
        for name, found in _hashes(sorted(_named(path, image_columns)), root):
            digest.update(f"{name}\0{found}\n".encode("utf-8", "replace"))
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
            do=f"if they changed as you wanted: suasion snapshot profiles/NAME.yaml, or set this source's snapshot to {found}",
        )


def _hashes(names: Sequence[str], root: str) -> Iterator[tuple[str, str]]:
    """Each of `names` with the sha256 of the image below `root`; with that of nothing where none is."""

    def look(name: str) -> str:
        try:
            content = FileImage(root, name).read()
        except OSError:
            content = b""
        return hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor(READERS if root.startswith(_S3) else 1) as pool:
        for start in range(0, len(names), _MANY):
            some = names[start : start + _MANY]
            yield from zip(some, pool.map(look, some), strict=True)


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


def _finite(value: Any) -> float | None:
    try:
        found = float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _is_number(value: str) -> bool:
    return _finite(value) is not None
