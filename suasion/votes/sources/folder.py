"""A folder of votes and images: its snapshot hash, and its rows. What `avt` and `jsonl` share.

The snapshot (sha256 over the votes file and every image that it names) is a parameter: DVC then knows when the data
changed although they lie outside the project, and a run never takes other data than its parameters say.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from suasion.errors import SuasionError
from suasion.votes.sources import RawVote

FILES = ("votes.jsonl", "votes.csv")


@dataclass(frozen=True)
class File:
    """An image file of the folder, by its path below it."""

    folder: Path
    name: str

    def read(self) -> bytes:
        return _inside(self.folder, self.name).read_bytes()


def checked_folder(folder: Path, snapshot: str, *, what: str) -> Path:
    """`folder`, if it is there and what it holds is what `snapshot` says.

    Raises:
        SuasionError: it is missing, or holds something else.
    """
    if not folder.is_dir():
        raise SuasionError(
            f"no folder {folder.name} with {what}",
            where=str(folder),
            do="put it there, or set SUASION_DATA to the folder that holds it",
        )
    found = snapshot_of(folder)
    if found != snapshot:
        raise SuasionError(
            f"the data have the snapshot {found}, not {snapshot}",
            where=str(folder),
            do=f"if they changed as you wanted, set ingest.source.snapshot to {found} in the profile",
        )
    return folder


def snapshot_of(folder: Path) -> str:
    """sha256 (hex) over the path and the sha256 of the votes file and of every image that it names."""
    votes = _votes_file(folder)
    names = {str(row.get(side) or "") for _, row in _rows(votes) for side in ("image_a", "image_b")}
    digest = hashlib.sha256()
    for name in [votes.name, *sorted(names)]:
        path = _inside(folder, name)
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def read_rows(folder: Path, *, required: Sequence[str]) -> Iterator[RawVote]:
    """The rows of the folder's votes file.

    Raises:
        SuasionError: a needed column is missing from the header (CSV) or from the first row (JSON lines).
    """
    votes = _votes_file(folder)
    for number, row in _rows(votes):
        if number == 1:
            _check_columns(votes, row, required)
        yield RawVote(
            row=f"{votes.name}:{number}",
            prompt=str(row.get("prompt") or ""),
            image_a=File(folder, str(row.get("image_a") or "")),
            image_b=File(folder, str(row.get("image_b") or "")),
            choice=str(row.get("choice") or ""),
            pair_id=_text(row.get("pair_id")),
            annotator_id=_text(row.get("annotator_id")),
            count=int(_number(row.get("count"))),
            weight=_number(row.get("weight")),
            voted_at=_time(row.get("voted_at")),
            source_split=_text(row.get("split")),
            model_a=_text(row.get("model_a")),
            model_b=_text(row.get("model_b")),
        )


def _check_columns(votes: Path, row: dict[str, object], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in row]
    if missing:
        raise SuasionError(
            f"no column {', '.join(missing)}: found {', '.join(row)}; expected {', '.join(required)}",
            where=str(votes),
            do="name the columns as docs/bring-your-own-votes.md has them",
        )


def _votes_file(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise SuasionError(
        f"neither {' nor '.join(FILES)}", where=str(folder), do="put the votes there under one of these names"
    )


def _rows(votes: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered rows from 1; a line that is no JSON object is a row without any column."""
    with votes.open(encoding="utf-8", newline="") as file:
        if votes.suffix == ".csv":
            yield from enumerate((dict(row) for row in csv.DictReader(file)), start=1)
            return
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = {}
            yield number, row if isinstance(row, dict) else {}


def _inside(folder: Path, name: str) -> Path:
    """The path of `name` in `folder`; a name that leads outside names a file that is not there."""
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) else folder / "outside-of-the-folder"


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _number(value: object) -> float:
    """The number in a field; 1 where there is none, 0 (which ingest drops) where it is no number."""
    try:
        number = 1.0 if value in (None, "") else float(str(value))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None) if value else None
    except ValueError:
        return None
