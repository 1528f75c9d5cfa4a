"""Where rows lie: local files, patterns and folders, `s3://`, whatever else fsspec opens, and data sets of the hub.

Given up: compressed files, and folders within folders unless a pattern says so.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractBufferedFile

from suasion.errors import SuasionError
from suasion.params import data_folder
from suasion.storage import filesystem
from suasion.votes.sources import BadRow
from suasion.votes.sources._formats import rows_of_file

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
HUB = "hub:"
_AT_ONCE = 1024 * 1024  # bytes of a remote file that are handed on
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class File:
    fs: Any
    path: str

    def open(self) -> Any:
        opened = self.fs.open(self.path, "rb")
        # fsspec's own files that are not local look for the end of a line in a new block each time.
        return io.BufferedReader(opened, _AT_ONCE) if isinstance(opened, AbstractBufferedFile) else opened


def locate(path: str) -> str:
    """Where `path` of the parameters is: relative ones are below the data folder, URLs and absolute ones stay."""
    return path if "://" in path or path.startswith((HUB, "/")) else str(data_folder() / path)


def folder_of(path: str) -> str:
    """The folder of a located file or pattern, or the folder itself: where image paths start unless they say otherwise."""
    if path.startswith(HUB):
        return path
    fixed = path[: next((at for at, char in enumerate(path) if char in "*?["), len(path))]
    if fixed == path and not path.lower().endswith(ENDINGS):
        return path
    return fixed.rpartition("/")[0]


def rows(path: str, *, batch: int = 256) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    """The rows of a file, of a glob pattern or of a folder's files by name, each with `<file>:<number from 1>`.

    `path` is located; Parquet is read `batch` rows at a time. What is no row is a `BadRow` with `row_unreadable`.

    Raises:
        SuasionError: nothing is there, or it cannot be read.
    """
    if path.startswith(HUB):
        yield from _hub_rows(path)
        return
    files, names = files_at(path)
    for file, name in zip(files, names, strict=True):
        try:
            with file.open() as opened:
                yield from rows_of_file(opened, name, batch=batch)
        except OSError as error:
            raise SuasionError(
                f"cannot be read: {error}", where=file.path, do="look whether it can be opened"
            ) from None


def files_at(path: str) -> tuple[list[File], list[str]]:
    """The files of a path, and their names: as short as they can be and still differ."""
    try:
        fs, inner = filesystem(path)
        kind = kind_of(fs, inner)
        if kind == "file":
            found = [inner]
        elif kind == "directory":
            found = [name for name in sorted(fs.ls(inner, detail=False)) if name.lower().endswith(ENDINGS)]
        else:
            found = sorted(fs.glob(inner)) if any(char in inner for char in "*?[") else []
    except SuasionError:
        raise
    except Exception as error:  # other storages have errors of their own
        raise SuasionError(
            f"cannot be listed: {type(error).__name__}: {str(error)[:200]}",
            where=path,
            do="look whether it can be reached, and whether its credentials are set",
        ) from None
    strange = [name for name in found if not name.lower().endswith(ENDINGS)]
    if strange:
        raise SuasionError(
            f"{strange[0].rpartition('/')[2]} is in no format that can be read",
            where=strange[0],
            do=f"export it as a file that ends in {', '.join(ENDINGS)}",
        )
    if not found:
        raise SuasionError(
            f"no votes file at {path}",
            where=path,
            do=f"put a file there that ends in {', '.join(ENDINGS)}, or set SUASION_DATA to the folder that holds it",
        )
    names = [name.rpartition("/")[2] for name in found]
    if len({*names}) < len(names):
        shared = len(filesystem(folder_of(path))[1].rstrip("/")) + 1
        names = [name[shared:] for name in found]
    return [File(fs, name) for name in found], names


def kind_of(fs: Any, inner: str) -> str:
    """What is at a path of a file system: `file`, `directory`, or an empty text for nothing.

    Not by `isfile`: to that, a storage that does not answer has nothing.
    """
    try:
        return str(fs.info(inner)["type"])
    except (FileNotFoundError, NotADirectoryError):
        return ""


def hub_name(path: str) -> tuple[str, str]:
    """Name and commit; a local folder, which needs no commit, can stand in the name's place."""
    name, _, revision = path.removeprefix(HUB).partition("@")
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

    name, revision = hub_name(path)
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
