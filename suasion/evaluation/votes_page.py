"""The report's page on data: what was left out and why, where the votes came from, who cast them, what they say.

It is drawn from what ingest and filter leave in `data/`, and computes no verdict of its own. Given up: search, and more
than `ROWS` voters in the table; `data/filter/voters.parquet` and the two `drops.parquet` have them all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from suasion.evaluation.pages import render
from suasion.evaluation.plots import histogram, scatter
from suasion.evaluation.reasons import FLAGS, REASONS, TIES
from suasion.records import DROP, LABELS, PAIR, SPLITS, VOTER, read

ROWS = 200  # voters in the table
EXAMPLES = 3  # ids per reason
SHOWN = 60  # characters of a detail
SHARES = np.linspace(0, 1, 41)


def votes_page() -> Markup:
    """Its HTML."""
    summary, ingested = summaries()
    voters = read(Path("data/filter/voters.parquet"), VOTER)
    pairs = read(Path("data/filter/pairs.parquet"), PAIR)
    return render(
        "data.html.jinja",
        ledgers=ledgers(ingested, summary),
        unread=_unread(),
        ingested=ingested,
        summary=summary,
        components=summary.get("components"),
        ties=TIES[summary["ties"]],
        voters=voters.height,
        listed=listed(voters),
        any_seconds=voters["seconds"].is_not_null().any(),
        flags=FLAGS,
        charts_of_voters=_charts_of_voters(voters) if voters.height else [],
        charts_of_pairs=_charts_of_pairs(pairs) if pairs.height else [],
        labels=LABELS,
        splits=_labels_by_split(pairs),
    )


def summaries() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stages filter and ingest say in `summary.json`."""
    filtered: dict[str, Any] = json.loads(Path("data/filter/summary.json").read_text())
    return filtered, json.loads(Path("data/ingest/summary.json").read_text())


def ledgers(ingested: Mapping[str, Any], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For judgements, votes and pairs: how many came in, were kept, and were dropped for which reason, most first."""
    early = read(Path("data/ingest/drops.parquet"), DROP).filter(pl.col("stage") == "ingest")
    late = read(Path("data/filter/drops.parquet"), DROP)
    of_ingest = dict(early["reason"].value_counts().iter_rows())
    return [
        _ledger("Judgements", "read from the sources", ingested["rows"], ingested["votes"], of_ingest, early),
        _ledger(
            "Votes", "that were ingested", summary["votes_in"], summary["votes_kept"], summary["dropped_votes"], late
        ),
        _ledger("Pairs", "with votes", summary["pairs_in"], summary["pairs_kept"], summary["dropped_pairs"], late),
    ]


def _ledger(
    name: str, what: str, came: int, kept: int, dropped: Mapping[str, int], drops: pl.DataFrame
) -> dict[str, Any]:
    gone = sum(dropped.values())
    amounts = {"came": came, "kept": kept, "gone": gone, "missing": came - kept - gone}
    share = kept / came if came else None
    return {"name": name, "what": what, "rows": _rows(dropped, drops, came), "share": share, **amounts}


def _unread() -> list[dict[str, Any]]:
    """Rows of evaluation sets that could not be read: no judgements, so they are in no sum."""
    drops = read(Path("data/ingest/drops.parquet"), DROP).filter(pl.col("stage") == "evaluation_set")
    return _rows(dict(drops["reason"].value_counts().iter_rows()), drops, 0)


def _rows(dropped: Mapping[str, int], drops: pl.DataFrame, came: int) -> list[dict[str, Any]]:
    """A row per reason, most first; `drops` has the ids."""
    return [
        {
            "reason": reason,
            "count": count,
            "share": count / came if came else None,
            "sentence": REASONS.get(reason),
            "examples": _examples(drops, reason),
        }
        for reason, count in sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]


def _examples(drops: pl.DataFrame, reason: str) -> list[tuple[str, str]]:
    """The first ids by order, each with its detail where the details differ."""
    found = (
        drops.filter(pl.col("reason") == reason).select("id", "detail").unique().bottom_k(EXAMPLES, by=["id", "detail"])
    )
    found = found.sort("id", "detail")
    details = [
        detail if len(detail) <= SHOWN else detail[: SHOWN - 1] + "…" for detail in found["detail"].fill_null("")
    ]
    differ = len(set(details)) == len(details)
    return [(name, detail if differ else "") for name, detail in zip(found["id"], details, strict=True)]


def listed(voters: pl.DataFrame) -> list[dict[str, Any]]:
    """Up to `ROWS` voters: those left out, then the others, the least reliable first."""
    order = ["flagged", "accuracy", "annotator_id"]
    return voters.sort(order, descending=[True, False, False], nulls_last=True).head(ROWS).to_dicts()


def _charts_of_voters(voters: pl.DataFrame) -> list[tuple[str, str]]:
    groups = {"counted": voters.filter(~pl.col("flagged")), "left out": voters.filter(pl.col("flagged"))}

    def column(name: str) -> dict[str, np.ndarray]:
        return {group: rows[name].drop_nulls().to_numpy() for group, rows in groups.items()}

    both = {group: rows.drop_nulls(["left_share", "accuracy"]) for group, rows in groups.items()}
    points = {group: (rows["left_share"].to_numpy(), rows["accuracy"].to_numpy()) for group, rows in both.items()}
    out = groups["left out"].height
    charts = [
        _histogram(
            "Estimated accuracy", column("accuracy"), SHARES, x="share of decided votes that are right", y="voters"
        ),
        (
            "Accuracy and side",
            scatter(
                points,
                x="share of votes for the left image",
                y="estimated accuracy",
                text=f"Scatter plot of {sum(len(x) for x, _ in points.values())} voters, {out} of them left out and marked "
                "with a cross: estimated accuracy against the share of votes for the left image.",
            ),
        ),
        _histogram("Votes per voter", column("n_votes"), None, x="votes", y="voters"),
    ]
    if voters["seconds"].is_not_null().any():
        charts.append(
            _histogram("Seconds per vote", column("seconds"), None, x="seconds, median of a voter", y="voters")
        )
    return charts


def _charts_of_pairs(pairs: pl.DataFrame) -> list[tuple[str, str]]:
    values = {
        name: {"pairs": pairs[name].drop_nulls().to_numpy()} for name in ("p_a", "agreement", "n_votes", "tie_rate")
    }
    return [
        _histogram("Posterior", values["p_a"], SHARES, x="probability that A is preferred", y="pairs"),
        _histogram("Agreement", values["agreement"], SHARES, x="share of decided votes with the label", y="pairs"),
        _histogram("Votes per pair", values["n_votes"], None, x="votes", y="pairs"),
        _histogram("Tie rate", values["tie_rate"], SHARES, x="share of ties", y="pairs"),
    ]


def _histogram(
    title: str, groups: Mapping[str, np.ndarray], edges: np.ndarray | None, *, x: str, y: str
) -> tuple[str, str]:
    """A title and its plot; without `edges` they are found by the values (counts or seconds)."""
    values = np.concatenate(list(groups.values()))
    said = "no values"
    if len(values):
        low, middle, high = np.percentile(values, [0, 50, 100])
        said = f"from {low:.3g} to {high:.3g}, the median is {middle:.3g}"
    text = f"Histogram of {len(values)} {y} by {x}: {said}."
    return title, histogram(groups, _edges(values) if edges is None else edges, x=x, y=y, text=text)


def _edges(values: np.ndarray) -> np.ndarray:
    """Up to 30 bins: of equal widths, whole ones for whole numbers, or over a wide span of equal ratios."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    whole = np.issubdtype(values.dtype, np.integer)
    if low > 0 and high > 50 * low:
        edges = np.geomspace(low, high + 1 if whole else high * 1.001, 31)
        return np.unique(np.floor(edges)) - 0.5 if whole else edges
    if whole:
        step = -((low - high - 1) // 30)
        return np.arange(low - 0.5, high + step, step)
    return np.linspace(low, max(high, low + 1e-9), 31)


def _labels_by_split(pairs: pl.DataFrame) -> list[tuple[str, list[int]]]:
    """Per split that has pairs: how many have each of `LABELS`."""
    counts = {(split, label): size for split, label, size in pairs.group_by("split", "label").len().iter_rows()}
    rows = [(split, [counts.get((split, label), 0) for label in LABELS]) for split in SPLITS]
    return [(split, sizes) for split, sizes in rows if sum(sizes)]
