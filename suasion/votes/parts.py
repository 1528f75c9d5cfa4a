"""What an interrupted ingestion has done for good: one folder per finished batch, there whole or not at all.

A batch counts once its folder has its final name, which it gets last, after its tables and the tar of its images are on the
disk. Given up: taking up work after the code, the settings or the seed changed; the folder of the work is keyed by them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from suasion.records import DROP, IMAGE, SCENE, VOTE, read, write
from suasion.stage import fsync

KNOWN = pl.Schema({"key": pl.Binary, "sha256": pl.String, "reason": pl.String, "detail": pl.String})
"""Images that were looked at: where they are (`suasion.images.intake.key_of`), and their hash or what is wrong."""

DONE = pl.Schema({"source": pl.String, "rows": pl.Int64})
"""How many rows of a source a batch holds."""


class Batch(NamedTuple):
    """The tables of a batch, or of all batches: `records.VOTE`, `DROP`, `IMAGE` and `SCENE`, and the two above."""

    votes: pl.DataFrame
    drops: pl.DataFrame
    images: pl.DataFrame
    scenes: pl.DataFrame
    known: pl.DataFrame
    done: pl.DataFrame

    @classmethod
    def of_rows(cls, *tables: Sequence[tuple[object, ...]]) -> "Batch":
        """A batch whose tables have these rows, in the order of the fields."""
        frames = zip(tables, SCHEMAS.values(), strict=True)
        return cls(*(pl.DataFrame(list(rows), schema=schema, orient="row") for rows, schema in frames))


SCHEMAS = dict(zip(Batch._fields, (VOTE, DROP, IMAGE, SCENE, KNOWN, DONE), strict=True))


class Parts:
    """The batches in `folder`, which is made; what a killed run left unfinished is removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.tmp"):
            shutil.rmtree(left)
        self.count = len([*folder.glob("part-*")])

    def commit(self, batch: Batch) -> None:
        """Store `batch` as the next one. The images that it names must be on the disk."""
        aside = self.folder / "next.tmp"
        aside.mkdir()
        for name, table in batch._asdict().items():
            write(table, aside / f"{name}.parquet", SCHEMAS[name])
            fsync(aside / f"{name}.parquet")
        fsync(aside)
        aside.rename(self._path(self.count))
        fsync(self.folder)
        self.count += 1

    def table(self, name: str) -> pl.DataFrame:
        """The tables called `name` (a field of `Batch`) of all batches, one below the other."""
        schema = SCHEMAS[name]
        found = [read(self._path(number) / f"{name}.parquet", schema) for number in range(self.count)]
        return pl.concat([pl.DataFrame(schema=schema), *found])

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}"
