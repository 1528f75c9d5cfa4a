"""Evaluation sets of others: their prompts and images, by which filters find pairs that overlap with them.

Nothing of them is packed or trained on. Given up: taking up an interrupted reading; these sets are small.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from suasion.images.check import BadImage
from suasion.images.intake import check_all, readers
from suasion.params import EvaluationSet, Ingest
from suasion.records import DROP, HELD_OUT
from suasion.votes.sources import BadRow, ImageRef
from suasion.votes.sources.files import (
    as_image,
    check_snapshot,
    folder_of,
    locate,
    read_checked,
    snapshot_of,
    text,
)

STAGE = "evaluation_set"
"""In the drops' column `stage`: these are no judgements, and are not counted as such."""


def read_held_out(settings: Ingest, *, threads: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of `records.HELD_OUT`, a row for every prompt and image, and of `DROP` for what could not be read.

    A prompt whose images cannot be read has a row without an image: it counts as a prompt.

    Raises:
        SuasionError: a set is not there, has other columns, or is not the one that the parameters name.
    """
    found: list[tuple[object, ...]] = []
    drops: list[tuple[str, str, str, str]] = []
    with readers(threads) as pool:
        for wanted in settings.evaluation_sets:
            _read(wanted, settings, pool, threads, found, drops)
    table = pl.DataFrame(found, schema=HELD_OUT, orient="row").unique().sort(HELD_OUT.names(), nulls_last=False)
    return table, pl.DataFrame(drops, schema=DROP, orient="row")


def _read(
    wanted: EvaluationSet,
    settings: Ingest,
    pool: ThreadPoolExecutor,
    threads: int,
    found: list[tuple[object, ...]],
    drops: list[tuple[str, str, str, str]],
) -> None:
    path = locate(wanted.path)
    check_snapshot(snapshot_of(path, folder_of(path), wanted.images), wanted.snapshot, where=path)
    asked: list[tuple[str, str]] = []

    def images() -> Iterator[ImageRef]:
        for where, row in read_checked(path, [wanted.prompt, *wanted.images]):
            if isinstance(row, BadRow):
                drops.append((STAGE, f"{wanted.name}:{where}", row.reason, row.detail))
                continue
            prompt = (text(row[wanted.prompt]) or "").strip()
            if not prompt:
                drops.append((STAGE, f"{wanted.name}:{where}", "prompt_empty", ""))
                continue
            found.append((wanted.name, prompt, None, None))
            for image in _images(row, wanted.images, folder_of(path)):
                asked.append((where, prompt))
                yield image

    checked = check_all(images(), pool, threads=threads, max_pixels=int(settings.max_megapixels * 1e6), min_side=1)
    for number, (_, seen) in enumerate(checked):
        where, prompt = asked[number]
        if isinstance(seen, BadImage):
            drops.append((STAGE, f"{wanted.name}:{where}", seen.reason, seen.detail))
        else:
            found.append((wanted.name, prompt, seen.sha256, seen.phash))


def _images(row: dict[str, Any], columns: list[str], root: str) -> Iterator[ImageRef]:
    for column in columns:
        value = row[column]
        for item in value if isinstance(value, list) else [value]:
            yield as_image(item, root)
