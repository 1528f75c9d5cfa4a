"""Votes of your own: any CSV, Parquet or JSON (lines), whose columns the parameters name. No code is needed.

Three encodings: `choice` (a row is one person's judgement), `counts` (a row has the votes for each side) and `ranking` (a
row orders several images). Given up: one-hot columns and scores; write a source, or turn them into one of the three.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from suasion.params import Columns, TableSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources.files import (
    as_image,
    check_snapshot,
    folder_of,
    locate,
    number,
    ranking_votes,
    read_checked,
    snapshot_of,
    text,
    time,
)

USUAL = {
    "a": "a 1 1.0 left l first image_1 image1 image_a imagea image_left left_image img_1 img1 option_1 option_a response_a "
    "model_a leftvote",
    "b": "b 2 2.0 right r second image_2 image2 image_b imageb image_right right_image img_2 img2 option_2 option_b "
    "response_b model_b rightvote",
    "tie": "tie tied draw equal same both either no_preference 0.5 tievote",
    "both_bad": "both_bad bothbad bothbad_vote neither none_good all_bad both_are_bad",
}
"""What values mean, whatever their case, with spaces or hyphens for underscores. Not `0`: it means tie, or the first, or no."""

MEANING = {value: choice for choice, values in USUAL.items() for value in values.split()}
_SPLITS = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}
NEEDED = {
    "choice": ("prompt", "image_a", "image_b", "choice"),
    "counts": ("prompt", "image_a", "image_b", "count_a", "count_b"),
    "ranking": ("prompt", "images", "rank"),
}
"""Encoding -> keys of `columns` that must be set."""

Row = dict[str, Any]


def read_votes(settings: TableSource, seed: int) -> Iterator[RawVote | BadRow]:
    """The judgements of the rows, in the files' order.

    Raises:
        SuasionError: nothing is there, a named column is missing, or the data are not those of the snapshot.
    """
    path, columns = locate(settings.path), settings.columns
    root = locate(settings.images) if settings.images is not None else folder_of(path)
    images = [name for name in (columns.image_a, columns.image_b, columns.images) if name is not None]
    check_snapshot(snapshot_of(path, root, images), settings.snapshot, where=path)
    for where, row in read_checked(path, [str(name) for name in columns.model_dump(exclude_none=True).values()]):
        if isinstance(row, BadRow):
            yield row
        else:
            yield from votes_of(where, row, settings, root)


def votes_of(where: str, row: Row, settings: TableSource, root: str) -> Iterator[RawVote | BadRow]:
    """The judgements of one row, whose images are below `root`."""
    read = {"choice": _choice, "counts": _counts, "ranking": _ranking}[settings.encoding]
    return read(where, row, settings, root)


def meaning_of(value: Any, choices: Mapping[str, str]) -> str | None:
    """What a value of a choice column says: one of `records.CHOICES`, of `choices` first; None where nobody knows."""
    said = "" if value is None else str(value).strip()
    own = {key.lower(): choice for key, choice in choices.items()}
    if said.lower() in own:
        return own[said.lower()]
    return MEANING.get(said.lower().replace(" ", "_").replace("-", "_"))


def split_of(value: Any) -> str | None:
    """The split that a field names, by the names that we have for them."""
    said = text(value)
    return None if said is None else _SPLITS.get(said.strip().lower(), said.strip().lower())


def chosen_by_name(row: Row, columns: Columns) -> str | None:
    """a or b where the choice column holds the very path, or the very generator, of one of the two images."""
    said = row.get(columns.choice or "")
    for one, two in ((columns.image_a, columns.image_b), (columns.model_a, columns.model_b)):
        first, second = row.get(one or ""), row.get(two or "")
        if isinstance(said, str) and said and first != second and said in (first, second):
            return "a" if said == first else "b"
    return None


def _choice(where: str, row: Row, settings: TableSource, root: str) -> Iterator[RawVote]:
    columns = settings.columns
    said = row.get(columns.choice or "")
    yield RawVote(
        row=where,
        choice=meaning_of(said, settings.choices) or chosen_by_name(row, columns) or text(said) or "",
        annotator_id=_text(row, columns.annotator_id),
        count=_count(_field(row, columns.count)),
        **_pair(row, columns, root),
    )


def _counts(where: str, row: Row, settings: TableSource, root: str) -> Iterator[RawVote | BadRow]:
    """A vote for each side that has any; a row without any, or with a count that is none, is bad."""
    columns = settings.columns
    sides = {"a": columns.count_a, "b": columns.count_b, "tie": columns.count_tie}
    found = {choice: row.get(name) for choice, name in sides.items() if name is not None}
    counts = {choice: _total(value) for choice, value in found.items()}
    if None in counts.values() or not any(counts.values()):
        detail = ", ".join(f"{choice}: {str(value)[:40]}" for choice, value in found.items())
        yield BadRow(where, "weight_not_positive", detail)
        return
    shared = _pair(row, columns, root)
    for choice, count in counts.items():
        if count:
            yield RawVote(row=f"{where}#{choice}", choice=choice, count=count, **shared)


def _ranking(where: str, row: Row, settings: TableSource, root: str) -> Iterator[RawVote | BadRow]:
    columns = settings.columns
    images, ranks = row.get(columns.images or ""), row.get(columns.rank or "")
    if not isinstance(images, list) or not isinstance(ranks, list):
        yield BadRow(where, "ranking_malformed", f"{type(images).__name__} and {type(ranks).__name__}, not two lists")
        return
    fields = _facts(row, columns) | {"annotator_id": _text(row, columns.annotator_id)}
    prompt = text(row.get(columns.prompt)) or ""
    yield from ranking_votes(where, prompt, [as_image(image, root) for image in images], ranks, **fields)


def _pair(row: Row, columns: Columns, root: str) -> dict[str, Any]:
    return {
        "prompt": text(row.get(columns.prompt)) or "",
        "image_a": as_image(row.get(columns.image_a or ""), root),
        "image_b": as_image(row.get(columns.image_b or ""), root),
        "pair_id": _text(row, columns.pair_id),
        "model_a": _text(row, columns.model_a),
        "model_b": _text(row, columns.model_b),
        **_facts(row, columns),
    }


def _facts(row: Row, columns: Columns) -> dict[str, Any]:
    return {
        "weight": number(_field(row, columns.weight)),
        "voted_at": time(_field(row, columns.voted_at)),
        "source_split": split_of(_field(row, columns.split)),
    }


def _field(row: Row, column: str | None) -> Any:
    return None if column is None else row.get(column)


def _text(row: Row, column: str | None) -> str | None:
    return text(_field(row, column))


def _count(value: Any) -> int:
    """A whole number of votes, 1 where none is given; 0, which ingest drops, where it is no such number."""
    return 1 if value is None or value == "" else _total(value) or 0


def _total(value: Any) -> int | None:
    """A number of votes from 0; an empty field is 0. None where it is no whole number."""
    if value is None or value == "":
        return 0
    found = number(value)
    whole = found >= 0 and math.floor(found) == found
    zero = str(value).strip() in ("0", "0.0", "False")
    return int(found) if whole and (found > 0 or zero) else None
