"""The report's page of every metric: with intervals, pair by pair, by protocol, by confidence, and by kind of pair.

It is drawn from `metrics.json` and from the tables in `data/measure`, which `dvc plots` draws too, and computes nothing of
its own. A section whose numbers are not there is left out.
"""

import math
import re
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from suasion.evaluation.names import GROUPS, LISTENERS, MEASURES, MODELS, SPLITS
from suasion.evaluation.pages import render
from suasion.evaluation.plots import Curve, Dot, curve_plot, interval_plot

MEASURED = Path("data/measure")
COUNTED = ("margin", "votes")  # whose groups are spans of numbers
ROWS = 20
"""Groups in a drawing; the table has them all."""

Metrics = dict[str, Any]


def evaluation_page(metrics: Metrics) -> Markup:
    """Its HTML."""
    models = {name: label for name, label in MODELS.items() if name in metrics}
    splits = {split: label for split, label in SPLITS.items() if metrics["released"][split]["accuracy"]["n"]}
    return render(
        "evaluation.html.jinja",
        metrics=metrics,
        models=models,
        splits=splits,
        measures={name: said for name, said in MEASURES.items() if name in metrics["released"]["test"]},
        paired={name: label for name, label in models.items() if f"released_vs_{name}" in metrics["paired"]},
        has_ties=any(metrics[name]["ties"][split]["n_ties"] for name in models for split in SPLITS),
        listeners=[name for name in LISTENERS if name in metrics["released"]["test"].get("contradiction_by", {})],
        listener_names=LISTENERS,
        protocols=_protocols(models),
        confidence=_confidence(models),
        breakdowns=_breakdowns(models),
    )


def _table(name: str) -> pl.DataFrame | None:
    """A table of `data/measure`, of test pairs where it knows splits; None where it is not there or empty."""
    path = MEASURED / f"{name}.csv"
    if not path.is_file():
        return None
    table = pl.read_csv(path, infer_schema_length=None)
    if "split" in table.columns:
        table = table.filter(pl.col("split") == "test")
    return table if table.height else None


def _protocols(models: dict[str, str]) -> dict[str, Any] | None:
    """A row per protocol with every model's number, and how far the protocols are apart."""
    table = _table("protocols")
    if table is None:
        return None
    found = {(model, protocol): value for model, protocol, value in table["model", "protocol", "value"].iter_rows()}
    names = table["protocol"].unique(maintain_order=True).to_list()
    columns = {model: [value for name in names if (value := found.get((model, name))) is not None] for model in models}
    return {
        "rows": [(name, [found.get((model, name)) for model in models]) for name in names],
        "spread": [max(values) - min(values) if values else None for values in columns.values()],
    }


def _confidence(models: dict[str, str]) -> list[tuple[str, str]]:
    """Titles and drawings of how far a model's own probabilities, and several of its answers, can be trusted."""
    answered = _bands(
        "abstention", models, "coverage", x="share of pairs that it answers", what="Accuracy by the share answered"
    )
    voted = _bands(
        "consistency", models, "k", x="sampled answers, k", what="Accuracy of the majority of k answers", doubling=True
    )
    charts = (
        ("Is it as often right as it is sure?", _calibration(models)),
        ("If it answers only where it is surest", answered),
        ("If the majority of k answers counts", voted),
    )
    return [(title, plot) for title, plot in charts if plot]


def _calibration(models: dict[str, str]) -> str | None:
    table = _table("calibration")
    if table is None:
        return None
    curves, said = {}, []
    for model, label in models.items():
        rows = table.filter((pl.col("model") == model) & (pl.col("n") > 0)).sort("confidence")
        if rows.height:
            curves[label] = Curve(rows["confidence"].to_list(), rows["accuracy"].to_list())
            last = rows.row(-1, named=True)
            said.append(f"{label}, where it is {last['confidence']:.2f} sure, is right on {last['accuracy']:.2f}")
    text = f"Reliability diagram, share of right answers by the model's own probability: {'; '.join(said)}."
    if not curves:
        return None
    return curve_plot(curves, x="its own probability of its answer", y="share that is right", text=text, diagonal=True)


def _bands(name: str, models: dict[str, str], column: str, *, x: str, what: str, doubling: bool = False) -> str | None:
    """Accuracy by `column` of the table `name`, with its interval; None where it has no number."""
    table = _table(name)
    if table is None:
        return None
    curves, said = {}, []
    for model, label in models.items():
        rows = table.filter(pl.col("model") == model).drop_nulls(["accuracy", "low", "high"]).sort(column)
        if rows.height:
            curves[label] = Curve(*(rows[name].to_list() for name in (column, "accuracy", "low", "high")))
            ends = [rows.row(at, named=True) for at in (0, -1)]
            said.append(f"{label} " + " and ".join(f"{end['accuracy']:.3f} at {end[column]:g}" for end in ends))
    text = f"{what}: {'; '.join(said)}."
    return curve_plot(curves, x=x, y="accuracy", text=text, doubling=doubling) if curves else None


def _breakdowns(models: dict[str, str]) -> list[dict[str, Any]]:
    """Per kind of group: its title, a drawing, and the rows (group, pairs, an estimate of each model or None)."""
    table = _table("breakdown")
    if table is None:
        return []
    table = table.with_columns(pl.col("group").cast(pl.String)).drop_nulls(["accuracy", "low", "high"])
    found = []
    for by, title in GROUPS.items():
        part = table.filter((pl.col("by") == by) & pl.col("model").is_in([*models]))
        cells = {(row["model"], row["group"]): row for row in part.iter_rows(named=True)}
        groups = part["group"].unique(maintain_order=True).to_list()
        if by in COUNTED:
            groups.sort(key=_first_number)
        if len(groups) < 2:  # all pairs are of one kind: that is the accuracy itself
            continue
        rows = [(group, [_estimate(cells.get((model, group))) for model in models]) for group in groups]
        found.append({"title": title, "rows": rows, "plot": _dots(title, rows, [*models.values()])})
    return found


def _first_number(group: str) -> float:
    found = re.match(r"\d+(\.\d+)?", group)
    return float(found[0]) if found else math.inf


def _estimate(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {"value": row["accuracy"], "low": row["low"], "high": row["high"], "n": row["n"]}


def _dots(title: str, rows: list[tuple[str, list[dict[str, Any] | None]]], names: list[str]) -> str:
    rows = rows[:ROWS]
    drawn = {
        name: [
            Dot(group, *(100 * estimate[key] for key in ("value", "low", "high")))
            for group, estimates in rows
            if (estimate := estimates[at])
        ]
        for at, name in enumerate(names)
    }
    text = f"Accuracy in percent with its interval, by {title.lower()}; the table beside has the numbers."
    return interval_plot({name: dots for name, dots in drawn.items() if dots}, x="accuracy, %", text=text, marked=50)
