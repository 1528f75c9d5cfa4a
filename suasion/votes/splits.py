"""Which split a prompt is in: never a pair, so that no prompt is seen in training and asked in a test."""

import hashlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from suasion.errors import SuasionError


def split_of_prompts(pairs: pl.DataFrame, splits: "str | Mapping[Any, float]", *, seed: int) -> pl.DataFrame:
    """Columns `prompt_id` and `split`, a row for every prompt of `pairs`.

    `splits` is "source" (the column `source_split` decides) or shares of the prompts, which are met to one prompt: the
    prompts are put in the order of a seeded hash and cut. What shares leave over is in split `none`.

    Raises:
        SuasionError: a prompt without a split in the source, or in two; shares of more than one.
    """
    if splits == "source":
        return _of_source(pairs)
    assert isinstance(splits, Mapping)
    if sum(splits.values()) > 1 + 1e-9:
        raise SuasionError(
            f"the shares {dict(splits)} add up to {sum(splits.values()):g}",
            where="params.yaml: filter.splits",
            do="to 1 at most",
        )
    prompts = sorted(
        pairs["prompt_id"].unique(), key=lambda prompt: hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    )
    names: list[str] = []
    share = 0.0
    for name, part in splits.items():
        share += part
        names += [name] * (round(share * len(prompts)) - len(names))
    names += ["none"] * (len(prompts) - len(names))
    return pl.DataFrame({"prompt_id": prompts, "split": names}, schema={"prompt_id": pl.String, "split": pl.String})


def _of_source(pairs: pl.DataFrame) -> pl.DataFrame:
    found = pairs.group_by("prompt_id").agg(split=pl.col("source_split").unique().sort()).sort("prompt_id")
    wrong = found.filter((pl.col("split").list.len() != 1) | pl.col("split").list.first().is_null())
    if not wrong.is_empty():
        prompt, splits = wrong.row(0)
        raise SuasionError(
            f"{wrong.height} prompts have not one split each; {prompt} has {splits}",
            where="params.yaml: filter.splits = source",
            do="give every vote of a prompt one split in the source, or set filter.splits to shares of the prompts",
        )
    return found.with_columns(split=pl.col("split").list.first())
