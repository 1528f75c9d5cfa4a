"""What a judgement must have to become a row of the votes table, how it gets its ids, and how a pair's rows are made to fit.

Ids are hashes of content. Given up: fuzzy identity of prompts; two are one where case, spaces and Unicode's spelling are all
that differs.
"""

import hashlib
import math
import re
import unicodedata

import polars as pl

from suasion.records import CHOICES, DROP, SPLITS, VOTE
from suasion.votes.sources import BadRow, RawVote

STAGE = "ingest"
MAX_COUNT = 10**9
"""Judgements that a row may stand for; more are an error of the source."""

_FILE_NAME = re.compile(r"[0-9A-Za-z_-]{1,80}")


def problem_of(item: RawVote | BadRow) -> BadRow | None:
    """Why `item` cannot be used, as far as its fields tell; None where they are fine."""
    if isinstance(item, BadRow):
        return BadRow(_clean(item.row), item.reason, _clean(item.detail)[:300])
    if not item.prompt.strip():
        return BadRow(item.row, "prompt_empty", "")
    if item.choice not in CHOICES:
        return BadRow(item.row, "choice_unknown", f"{_clean(item.choice)[:60]!r}, not one of {', '.join(CHOICES)}")
    if item.source_split is not None and item.source_split not in SPLITS:
        return BadRow(item.row, "split_unknown", f"{_clean(item.source_split)[:60]!r}, not one of {', '.join(SPLITS)}")
    if not 1 <= item.count <= MAX_COUNT or not 0 < item.weight < math.inf:
        return BadRow(item.row, "weight_not_positive", f"count {item.count:g}, weight {item.weight:g}")
    return None


def row_of(raw: RawVote, image_a: str, image_b: str, label: str, *, several: bool) -> tuple[object, ...]:
    """The row of `records.VOTE` for `raw`, whose images have these hashes.

    A pair's id begins with its source's label; where there are `several` sources, a voter's does too, since two sources
    may call two people by one name.
    """
    prompt = _clean(raw.prompt).strip()
    asked = comparable(prompt)
    pair_id = raw.pair_id or _hash(asked, *sorted((image_a, image_b)))
    if not pair_id.startswith(f"{label}-") and raw.pair_id:
        pair_id = f"{label}-{pair_id}"
    if not _FILE_NAME.fullmatch(pair_id):  # it becomes the name of a shard's members
        pair_id = f"{label}-{_hash(_clean(pair_id))}"
    voter = _clean(raw.annotator_id) if raw.annotator_id is not None else None
    if voter is not None and several:
        voter = f"{label}/{voter}"
    count = int(raw.count)
    said = (pair_id, prompt, image_a, image_b, voter, raw.choice, count, raw.voted_at)
    return (
        _hash(*(str(value) for value in said)),
        pair_id,
        _hash(asked),
        prompt,
        image_a,
        image_b,
        voter,
        raw.choice,
        count,
        float(raw.weight),
        raw.voted_at,
        label,
        raw.source_split,
        _clean(raw.model_a) if raw.model_a is not None else None,
        _clean(raw.model_b) if raw.model_b is not None else None,
    )


def comparable(prompt: str) -> str:
    """`prompt` as it is compared: NFC, casefolded, every run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", prompt).casefold().split())


def settle(votes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The votes sorted by pair and id, each once; and a table of `records.DROP`.

    Where nobody knows who voted, equal rows are different people: they are told apart by how often they came. A pair is
    what its first row (by id) says. A row that shows the two images the other way round stays as it was shown: which side a
    voter chose tells of the voter, and the filter turns it to the pair.
    """
    order = ["vote_id", *(name for name in VOTE.names() if name != "vote_id")]
    nth = pl.int_range(pl.len()).over("vote_id")
    table = votes.sort(order, nulls_last=False).with_columns(nth=nth)
    again = (pl.col("nth") > 0) & pl.col("annotator_id").is_not_null()
    numbered = pl.when(pl.col("nth") > 0).then(pl.format("{}-{}", "vote_id", "nth")).otherwise(pl.col("vote_id"))
    repeated = table.filter(again)
    table = table.filter(~again).with_columns(vote_id=numbered).drop("nth").sort("pair_id", "vote_id")

    first = {name: pl.col(name).first().over("pair_id") for name in ("prompt_id", "image_a", "image_b")}
    straight = (pl.col("image_a") == first["image_a"]) & (pl.col("image_b") == first["image_b"])
    turned = (pl.col("image_a") == first["image_b"]) & (pl.col("image_b") == first["image_a"])
    table = table.with_columns(fits=(pl.col("prompt_id") == first["prompt_id"]) & (straight | turned))
    conflicts, table = table.filter(~pl.col("fits")), table.filter("fits")
    drops = [
        *((STAGE, vote, "repeated_row", "the same vote, word for word") for vote in repeated["vote_id"]),
        *((STAGE, vote, "pair_conflict", pair) for vote, pair in conflicts.select("vote_id", "pair_id").iter_rows()),
    ]
    return table.select(VOTE.names()), pl.DataFrame(drops, schema=DROP, orient="row")


def _clean(text: str) -> str:
    """Without lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
