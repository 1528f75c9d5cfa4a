"""`suasion report RUN_A RUN_B`: two runs' released models pair by pair: the difference, how sure it is, and what changed sides.

A pair counts with the mean of its two orders; it changes sides where that is another in the other run. Given up: more than
`CHANGED` pairs on the page, and runs that were not evaluated on the same pairs: only those that both have are compared.
"""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from suasion.errors import SuasionError
from suasion.evaluation.bootstrap import paired
from suasion.evaluation.gallery import answers_of, clip
from suasion.evaluation.metrics import mcnemar, per_pair
from suasion.evaluation.names import MEASURES, SPLITS
from suasion.evaluation.pages import Page, chance, document, points, render, shown
from suasion.evaluation.runs import Run, read_run, samples_of
from suasion.evaluation.thumbnails import with_pictures
from suasion.shards.sample import Sample

CHANGED = 500
RESAMPLES, SEED = 2000, 0
ORDERS = (("n", "by split and name"), ("-votes", "most votes first"), ("margin_", "closest votes first"))


def compare_runs(first: str, second: str, out: Path) -> None:
    """Print a table of `second` minus `first`, and write a page of its own to `out` with the pairs that changed sides.

    Raises:
        SuasionError: one of them is no run, they have no pair in common, or `out` cannot be written.
    """
    with tempfile.TemporaryDirectory() as aside:
        runs = [read_run(name, Path(aside) / str(number)) for number, name in enumerate((first, second))]
        changes = differences(*runs)
        if not changes:
            raise SuasionError(
                "these runs have no pair in common",
                where=f"{first}, {second}",
                do="compare runs that were evaluated on the same votes",
            )
        page = comparison_page(runs, changes)
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SuasionError(
            f"cannot write the page: {error.strerror}", where=str(out), do="choose another --out"
        ) from None
    print(table(first, second, changes))
    print(f"\nwhat changed sides: {out}")


def differences(first: Run, second: Run) -> list[dict[str, Any]]:
    """Per split that both have pairs of: the accuracies, their difference, and how many pairs got better and worse.

    Ties are left out. `changed` has a row per pair that changed sides: `pair_id` and `better`.
    """
    sides = [per_pair(run.predictions.filter(pl.col("label") != "tie")) for run in (first, second)]
    found = []
    for split in SPLITS:
        a, b = (side.filter(pl.col("split") == split) for side in sides)
        both = a.join(b, on="pair_id", suffix="_b").sort("pair_id")
        if both.is_empty():
            continue
        moved = both.filter(pl.col("accuracy") != pl.col("accuracy_b"))
        found.append(
            {
                "split": split,
                "n": both.height,
                "alone": (a.height - both.height, b.height - both.height),
                "first": both["accuracy"].mean(),
                "second": both["accuracy_b"].mean(),
                "difference": paired(b, a, "accuracy", resamples=RESAMPLES, seed=SEED),
                "sides": mcnemar(b, a),
                "changed": moved.select("pair_id", better=pl.col("accuracy_b") > pl.col("accuracy")),
            }
        )
    return found


def table(first: str, second: str, changes: list[dict[str, Any]]) -> str:
    """The comparison in a few lines of text."""
    rows = [("", "pairs", "A", "B", "B minus A", "better", "worse", "McNemar's p")]
    rows += [
        (
            SPLITS[row["split"]].lower(),
            str(row["n"]),
            f"{shown(row['first'])}%",
            f"{shown(row['second'])}%",
            points(row["difference"]),
            str(row["sides"]["better"]),
            str(row["sides"]["worse"]),
            chance(row["sides"]["p"]),
        )
        for row in changes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"A: {first}", f"B: {second}", "accuracy of the released model on pairs that both have", *lines])


def comparison_page(runs: list[Run], changes: list[dict[str, Any]]) -> str:
    """The HTML of the comparison; pairs have their images where the shards of either run are at hand."""
    examples = _examples(runs, changes)
    index = [_indexed(number, example) for number, example in enumerate(examples)]
    splits = [row["split"] for row in changes]
    summary = render(
        "compared.html.jinja",
        first=runs[0],
        second=runs[1],
        changes=changes,
        splits=SPLITS,
        measures={name: said for name, said in MEASURES.items() if all(_has(run, name) for run in runs)},
        changed=len(examples),
    )
    filters = [
        ("change", "Change", [("better", "B is better"), ("worse", "B is worse")]),
        ("split", "Split", [(split, SPLITS[split]) for split in splits]),
    ]
    given = {"examples": examples, "index": index, "filters": filters, "orders": ORDERS}
    changed = render("changed.html.jinja", first=runs[0], second=runs[1], **given)
    pages = [Page("summary", "Summary", summary), Page("changed", "Changed sides", changed)]
    return document(f"Suasion: {runs[0].name} and {runs[1].name}", pages[: 2 if examples else 1])


def _has(run: Run, measure: str) -> bool:
    return measure in run.metrics.get("released", {}).get("test", {})


def _examples(runs: list[Run], changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    moved = [(row["split"], *rest) for row in changes for rest in row["changed"].iter_rows()][:CHANGED]
    known: dict[str, Sample] = {}
    for run in runs:
        missing = {pair_id for _, pair_id, _ in moved} - known.keys()
        known |= samples_of(run, missing) if missing else {}
    answers = [
        {rows[0]["pair_id"]: answers_of(rows, {}) for rows in _by_pair(run.predictions, {pair for _, pair, _ in moved})}
        for run in runs
    ]
    found = [
        {
            "pair_id": pair_id,
            "split": split,
            "better": better,
            "pair": _pair_of(known.get(pair_id)),
            "orders": _by_order(*(of_run[pair_id] for of_run in answers)),
        }
        for split, pair_id, better in moved
    ]
    said = [str(example["pair"]) + str(example["orders"]) for example in found]
    return with_pictures(found, known, said, taken=100_000)


def _by_order(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """What A and B say in either order, an order in which one is right and the other is not before one in which they agree."""
    both = [(a["order"], [("A", a), ("B", b)]) for a, b in zip(first, second, strict=False)]
    return sorted(both, key=lambda row: row[1][0][1]["correct"] == row[1][1][1]["correct"])


def _by_pair(predictions: pl.DataFrame, pair_ids: set[str]) -> list[list[dict[str, Any]]]:
    rows = predictions.filter(pl.col("pair_id").is_in(pair_ids)).sort("pair_id", "order")
    return [part.to_dicts() for part in rows.partition_by("pair_id", maintain_order=True)]


def _pair_of(sample: Sample | None) -> dict[str, Any] | None:
    return None if sample is None else sample.pair | {"prompt": clip(sample.pair["prompt"])}


def _indexed(number: int, example: dict[str, Any]) -> dict[str, Any]:
    pair = example["pair"] or {"p_a": 0.5, "n_votes": 0}
    return {
        "id": f"example-{example['pair_id']}",
        "change": "better" if example["better"] else "worse",
        "split": example["split"],
        "n": number,
        "votes": pair["n_votes"] or 0,
        "margin_": round(abs(pair["p_a"] - 0.5), 4),
    }
