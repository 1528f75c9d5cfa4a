"""Accuracy by what a pair is: its source, its generators, its prompt's category, how clear people were, how many they were.

The category of a prompt is a rule over its own words, the first that fits; it is there to find weak spots, not to describe
prompts. Given up: categories by a model, several categories for a prompt.
"""

import re

import polars as pl

from suasion.evaluation.bootstrap import bootstrap

_MANY = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|several|many|multiple|pair|couple|trio|both"
_WHERE = (
    "left|right|top|bottom|above|below|under|underneath|behind|beside|between|inside|outside|next to|in front of"
    "|on top of|foreground|background|center|centre|corner"
)
_STYLE = (
    "style|styled|painting|painted|drawing|sketch|watercolou?r|oil|anime|cartoon|comic|photo|photograph|photorealistic"
    "|realistic|render|rendered|3d|pixel|cinematic|art|artwork|illustration|portrait|digital|vector|minimalist|baroque"
)
_PERSON = "man|men|woman|women|boy|girl|child|children|person|people|human|lady|king|queen|face|he|she|his|her"
CATEGORIES: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "counting": rf"\b(?:{_MANY}|[2-9]|1[0-9])\b",
        "negation": r"\b(?:no|not|without|never|none|nothing|except|instead of)\b|n't\b",
        "text": r"\"[^\"]+\"|“[^”]+”|\b(?:text|words?|letters?|sign|saying|says|caption|written)\b",
        "spatial": rf"\b(?:{_WHERE})\b",
        "style": rf"\b(?:{_STYLE})\b",
        "person": rf"\b(?:{_PERSON})\b",
    }.items()
}
"""By name what a prompt holds somewhere; the first that fits is its category, else it is `other`."""

SCHEMA = {
    "by": pl.String,
    "group": pl.String,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}


def category(prompt: str) -> str:
    """One of `CATEGORIES`, or `other`."""
    return next((name for name, pattern in CATEGORIES.items() if pattern.search(prompt)), "other")


def groups(pairs: pl.DataFrame) -> pl.DataFrame:
    """For `records.PAIR` rows, `pair_id`, `by` and `group`: every group that a pair belongs to.

    A pair is in the groups of both its generators, once where they are the same, and in none where they are not known.
    """
    margin = ((pl.col("p_a") - 0.5).abs() * 10).floor().cast(pl.Int64).clip(0, 4)
    votes = pl.col("n_votes")
    kinds = {
        "source": pl.col("source"),
        "generator": pl.concat_list("model_a", "model_b").list.drop_nulls().list.unique(maintain_order=True),
        "category": pl.col("prompt").map_elements(category, return_dtype=pl.String),
        "margin": pl.format("0.{}-0.{}", margin, margin + 1),
        "votes": pl.when(votes < 3)
        .then(pl.lit("1-2"))
        .when(votes < 5)
        .then(pl.lit("3-4"))
        .when(votes < 10)
        .then(pl.lit("5-9"))
        .when(votes < 20)
        .then(pl.lit("10-19"))
        .otherwise(pl.lit("20+")),
    }
    tables = []
    for by, group in kinds.items():
        table = pairs.select("pair_id", by=pl.lit(by), group=group)
        tables.append((table.explode("group") if by == "generator" else table).drop_nulls("group"))
    return pl.concat(tables)


def breakdown(values: pl.DataFrame, pairs: pl.DataFrame, *, resamples: int, seed: int) -> pl.DataFrame:
    """Estimates of the column `accuracy` of `values`, one row per pair (of one model and split), for every group it has.

    Columns are those of `SCHEMA`; rows are sorted by them. Groups overlap and are many: some differ by chance alone.
    """
    rows = []
    joined = values.join(groups(pairs), on="pair_id").sort("by", "group", "pair_id")
    for (by, group), members in joined.group_by("by", "group", maintain_order=True):
        found = bootstrap(members, "accuracy", resamples=resamples, seed=seed)
        interval = {"accuracy": found["value"], "low": found["low"], "high": found["high"], "n": found["n"]}
        rows.append({"by": by, "group": group} | interval)
    return pl.DataFrame(rows, schema=SCHEMA)
