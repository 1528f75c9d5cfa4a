"""What the readers of published data sets share: which layout a file has, its split, and values that may be anything.

Every value of a row is untrusted: the functions here return None (or an empty text) where a value is not what it should
be, and never raise. Given up: a schema per data set; the columns that a reader uses are checked, all others are ignored.
"""

import hashlib
import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from suasion.errors import SuasionError
from suasion.params import PublicSource
from suasion.storage import filesystem
from suasion.votes.sources import BadRow, ImageRef, RawVote
from suasion.votes.sources._places import kind_of
from suasion.votes.sources.files import (
    as_image,
    check_columns,
    check_snapshot,
    folder_of,
    locate,
    ranking_votes,
    rows,
    snapshot_of,
)

MAX_COUNT = 1_000_000  # votes for one side of one pair; more is no count
MAX_JSON = 1_000_000  # characters of a JSON text within a field
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}


def place(settings: PublicSource, *folders: str) -> str:
    """Where the rows lie: `settings.path`, or the first of `folders` that is in it (`data`, a config's name)."""
    path = locate(settings.path)
    return next((inside for inside in (_join(path, name) for name in folders) if _is_folder(inside)), path)


def folder_in(root: str, name: str) -> str:
    """`name/` where the folder `root` has a folder of that name, else "": what goes before image paths."""
    return f"{name}/" if _is_folder(_join(root, name)) else ""


def read_published(
    settings: PublicSource,
    path: str,
    layouts: Mapping[str, Sequence[str]],
    *,
    images: Sequence[str] = (),
    folders: Sequence[str] = ("",),
    verified: bool = True,
) -> Iterator[tuple[str, str, dict[str, Any] | BadRow]]:
    """Yields row, layout and content of every row below `path`; each file's first row says which layout it has.

    `layouts` are names with the columns that each needs; `images` the columns with paths of images below
    `folders` of the rows' folder; these images are then part of the snapshot.

    Raises:
        SuasionError: no data, other data than the snapshot says, or columns of no layout (found beside expected).
    """
    found = [snapshot_of(path, _join(folder_of(path), name), images) for name in folders]
    snapshot = found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()
    check_snapshot(snapshot, settings.snapshot, path)
    file, layout = "", ""
    for row, content in rows(path):
        if isinstance(content, BadRow):
            yield row, layout, content
            continue
        if row.rpartition(":")[0] != file:
            file = row.rpartition(":")[0]
            layout = min(layouts, key=lambda name: sum(column not in content for column in layouts[name]))
            check_columns(list(content), layouts[layout], where=f"{path}: {file}", verified=verified)
        yield row, layout, content


def ranking(
    row: str,
    prompt: Any,
    images: Any,
    ranks: Any,
    root: str,
    *,
    split: str | None,
    annotator_id: str | None = None,
    folder: str = "",
) -> Iterator[RawVote | BadRow]:
    """Every pair of a ranking of images, lower ranks better; one `BadRow` where the two are no lists of one length."""
    ranked = numbers(ranks)
    if ranked is None:
        yield BadRow(row, "ranking_malformed", f"ranks {short(ranks)}")
        return
    refs = [image(one, root, folder) for one in items(images)]
    yield from ranking_votes(row, words(prompt), refs, ranked, annotator_id=annotator_id, source_split=split)


def image(value: Any, root: str, folder: str = "") -> ImageRef:
    """`as_image` of a path below `folder` of `root`, of bytes, or of a mapping with one of them."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return as_image(folder + words(value) if isinstance(value, str) and value else value, root)


def split_of(row: str) -> str | None:
    """The split that a file's name says (`validation_unique-00000-of-00001.parquet:7` is val), else None."""
    parts = re.split(r"[^a-z]+", row.rpartition("/")[2].rpartition(":")[0].lower())
    return next((SPLITS[part] for part in parts if part in SPLITS), None)


def words(value: Any) -> str:
    """A text as it is, with what no file can hold (lone surrogates) replaced; "" for everything else."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def name(value: Any) -> str | None:
    """The name of a voter or a model: a text or a whole number, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return words(value).strip()[:200] or None


def share(value: Any) -> float | None:
    """A finite number from 0 to 1, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def votes(value: Any) -> int | None:
    """A number of votes from 0 to `MAX_COUNT`, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return int(value) if float(value).is_integer() else None


def numbers(value: Any) -> list[float] | None:
    """A list of finite numbers, else None."""
    if not isinstance(value, list | tuple):
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e9 for one in value):
        return None  # NaN is not less than anything
    return [float(one) for one in value]


def items(value: Any) -> list[Any]:
    """The items of a list, else none."""
    return list(value) if isinstance(value, list | tuple) else []


def parsed(value: Any) -> Any:
    """What a JSON text says; lists and mappings as they are; None where it is none, too long or nested too deep."""
    if isinstance(value, list | dict):
        return value
    if not isinstance(value, str) or len(value) > MAX_JSON:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def short(value: Any) -> str:
    """`value` in a few words, for the drops table."""
    return words(reprlib.repr(value))[:120]


def _is_folder(path: str) -> bool:
    if path.startswith("hub:"):
        return False
    try:
        system, inside = filesystem(path)
        return kind_of(system, inside) == "directory"
    except SuasionError:
        raise
    except Exception:  # other storages have errors of their own; reading the rows says it better
        return False


def _join(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}".rstrip("/")
