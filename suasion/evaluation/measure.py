"""All numbers of `metrics.json`, and the tables behind the plots in `data/measure`.

Models on held-out pairs, pairs that nobody could decide, how far other counting rules disagree, and what votes themselves
reach. Numbers are for `dvc metrics diff`, tables for `dvc plots`; the report shows both.
"""

from typing import Any

import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap, rounded
from suasion.evaluation.breakdown import breakdown
from suasion.evaluation.calibration import abstention, calibrated, calibration_table, measure_calibration
from suasion.evaluation.consistency import self_consistency
from suasion.evaluation.metrics import measure, per_pair
from suasion.evaluation.protocols import PROTOCOLS, from_predictions
from suasion.evaluation.references import references
from suasion.evaluation.ties import measure_ties, probabilities, tie_aware
from suasion.records import EVALUATED

Tables = dict[str, pl.DataFrame]
PLACES = 6  # decimals in the tables


def measure_all(
    predictions: pl.DataFrame,
    heard: pl.DataFrame,
    sampled: pl.DataFrame,
    pairs: pl.DataFrame,
    votes: pl.DataFrame,
    *,
    resamples: int,
    seed: int,
) -> tuple[dict[str, Any], Tables]:
    """What `metrics.json` holds, and by name the tables of `data/measure`, as docs/evaluation.md has them.

    Rows are those of `records.PREDICTION`, `HEARD`, `SAMPLED`, `PAIR` and `VOTE`.
    """
    often = {"resamples": resamples, "seed": seed}
    metrics = measure(predictions, **often)
    tables: dict[str, list[pl.DataFrame]] = {}
    metrics["protocols_spread"] = {}
    for name in predictions["model"].unique().sort():
        of_model = predictions.filter(pl.col("model") == name)
        for split in EVALUATED:
            of_split = of_model.filter(pl.col("split") == split)
            numbers, shown = _of_split(of_split, heard, pairs, often)
            metrics[name][split] |= numbers
            for table, rows in shown.items():
                tables.setdefault(table, []).append(_named(rows, model=name, split=split))
        metrics[name]["ties"] = measure_ties(of_model, **often)
        counted = _protocols(of_model)
        metrics[name]["protocols"] = dict(zip(counted["protocol"], counted["value"], strict=True))
        metrics["protocols_spread"][name] = _spread(counted["value"])
        tables.setdefault("protocols", []).append(_named(counted, model=name))
    tested = sampled.filter(pl.col("split") == "test")
    for name in sorted({"released", *tested["model"]} & set(metrics)):
        found = self_consistency(tested.filter(pl.col("model") == name), **often)
        metrics[name]["self_consistency"] = found
        tables.setdefault("consistency", []).append(_named(_curve(found), model=name))
    metrics["references"] = references(pairs, votes, **often)
    return metrics, {name: _rounded(pl.concat(parts)) for name, parts in tables.items()}


def _of_split(
    predictions: pl.DataFrame, heard: pl.DataFrame, pairs: pl.DataFrame, often: dict[str, int]
) -> tuple[dict[str, Any], Tables]:
    """Numbers and tables of one model on one split, beside those of `suasion.evaluation.metrics`."""
    sided = probabilities(predictions)
    sure = calibrated(sided)
    decided = predictions.filter(pl.col("label") != "tie")
    values = per_pair(decided).join(sided.select("pair_id", "p"), on="pair_id", how="left")
    numbers = {
        **measure_calibration(sure, **often),
        "tie_aware": tie_aware(sided, **often),
        "contradiction_by": _contradiction_by(decided, heard, often),
    }
    tables = {
        "calibration": calibration_table(sure),
        "abstention": abstention(values, **often),
        "breakdown": breakdown(values, pairs, **often),
    }
    return numbers, tables


def _contradiction_by(predictions: pl.DataFrame, heard: pl.DataFrame, often: dict[str, int]) -> dict[str, Estimate]:
    """How often a listener prefers the other image than the answer does; a pair is the mean over its orders.

    Keys are all listeners of `heard`, of whatever model, so that a model which nobody could hear has the same ones.
    """
    told = heard.join(predictions.select("model", "pair_id", "prompt_id", "order"), on=["model", "pair_id", "order"])
    rates = (
        told.with_columns(pl.col("contradiction").cast(pl.Float64))
        .group_by("listener", "prompt_id", "pair_id")
        .agg(pl.col("contradiction").mean())
        .sort("pair_id")
    )
    return {
        listener: bootstrap(rates.filter(pl.col("listener") == listener), "contradiction", **often)
        for listener in heard["listener"].unique().sort()
    }


def _protocols(predictions: pl.DataFrame) -> pl.DataFrame:
    """`protocol`, `value` and `n` of one model on test pairs, decided or not; thresholds are fitted on validation."""
    judged = {split: from_predictions(predictions.filter(pl.col("split") == split)) for split in ("val", "test")}
    found = {name: protocol(judged["test"], judged["val"]) for name, protocol in PROTOCOLS.items()}
    rows = [(name, None if score.value is None else rounded(score.value), score.n) for name, score in found.items()]
    return pl.DataFrame(rows, schema={"protocol": pl.String, "value": pl.Float64, "n": pl.Int64}, orient="row")


def _spread(values: pl.Series) -> float | None:
    known = values.drop_nulls().to_list()
    return rounded(max(known) - min(known)) if known else None


def _curve(found: dict[str, Estimate]) -> pl.DataFrame:
    rows = [(int(k), one["value"], one["low"], one["high"]) for k, one in found.items()]
    schema = {"k": pl.Int64, "accuracy": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls()


def _named(rows: pl.DataFrame, **names: str) -> pl.DataFrame:
    """`rows` with columns in front that say whose they are."""
    return rows.select(*(pl.lit(value).alias(name) for name, value in names.items()), *rows.columns)


def _rounded(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col(pl.Float64).round(PLACES))
