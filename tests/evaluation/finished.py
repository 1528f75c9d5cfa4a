"""A finished run, as the stages leave it for the report: small, made up, and with text that would like to be HTML."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from suasion.evaluation.metrics import measure
from suasion.evaluation.report import build_report
from suasion.evaluation.ties import measure_ties
from suasion.images.pack import PackedImages
from suasion.params import ROOT, Params, load_params
from suasion.records import DROP, HEARD, PAIR, PREDICTION, VOTER, write
from suasion.shards.sample import Sample
from suasion.shards.writer import write_shards
from suasion.world.scenes import draw, encode, random_scene
from tests.shards.pairs import SETTINGS

HOSTILE = '<script>alert("x")</script>'
SOURCES = ("mine", f"</script>{HOSTILE}")
NOTHING = {"value": None, "low": None, "high": None, "n": 0}
NO_REFERENCES = {
    name: dict.fromkeys(("val", "test", "ood"), NOTHING)
    for name in ("always_a", "majority_generator", "held_out_rater")
}


def some_samples(size: int = 6) -> list[Sample]:
    """Test pairs p0, p1, ...: A is right, sources and margins differ."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(size):
        values: dict[str, Any] = dict.fromkeys(PAIR.names())
        values |= {"pair_id": f"p{index}", "prompt_id": f"q{index}", "prompt": f"{HOSTILE} {index} stars"}
        values |= {"label": "a", "split": "test", "source": SOURCES[index % 2]}
        values |= {"votes_a": 5, "votes_b": 2, "votes_tie": 1, "n_votes": 8 + index % 3, "p_a": (0.9, 0.99)[index % 2]}
        a, b = (encode(draw(random_scene(rng, groups=1), rng)) for _ in "ab")
        made.append(Sample(values, a, b, None, None))
    return made


def some_predictions(samples: Sequence[Sample], *, models: Sequence[str] = ("warmstart", "released")) -> pl.DataFrame:
    """Of the released model every other pair is right, of the others none; of every sixth nothing parses."""
    rows = []
    for model in models:
        for index, sample in enumerate(samples):
            for order in ("ab", "ba"):
                choice = None if index % 6 == 5 else "ab"[index % 2 if model == "released" else 1]
                row = {"model": model, "order": order, "completion": HOSTILE, "choice": choice, "faithful": None}
                row |= {"explanation": choice and f"{HOSTILE} in {index}", "correct": choice == "a"}
                row |= {"listener_p_a": choice and 0.8, "p_a": choice and (0.9 if choice == "a" else 0.3)}
                row |= {"contradiction": None if choice is None else choice == "b"}
                rows.append({name: sample.pair[name] for name in ("pair_id", "prompt_id", "split", "label")} | row)
    return pl.DataFrame(rows, schema=PREDICTION)


def metrics_of(predictions: pl.DataFrame) -> dict[str, Any]:
    metrics = measure(predictions, resamples=50, seed=0)
    for name in predictions["model"].unique():
        of_model = predictions.filter(pl.col("model") == name)
        metrics[name]["ties"] = measure_ties(of_model, resamples=50, seed=0)
    return metrics | {"references": NO_REFERENCES}


def leave(folder: Path) -> None:
    """What earlier stages leave in `folder`/data for the report, as small as it can be."""
    data = folder / "data"
    early = pl.DataFrame([("ingest", "1", "image_missing", HOSTILE)], schema=DROP, orient="row")
    write(early, data / "ingest" / "drops.parquet", DROP)
    write(pl.DataFrame(schema=DROP), data / "filter" / "drops.parquet", DROP)
    write(pl.DataFrame(schema=VOTER), data / "filter" / "voters.parquet", VOTER)
    write(pl.DataFrame(schema=PAIR), data / "filter" / "pairs.parquet", PAIR)
    filtered = {"votes_in": 9, "votes_kept": 8, "voters": 0, "voters_flagged": 0, "pairs_in": 6, "pairs_kept": 6}
    filtered |= {
        "splits": {"test": 6},
        "dropped_votes": {"voter_flagged": 1},
        "dropped_pairs": {},
        "alpha": {"x": None},
    }
    filtered |= {"labels": "one_coin", "ties": "drop", "mean_agreement": None, "mean_tie_rate": None}
    source = {"rows": 10, "votes": 9, "dropped": 1, "snapshot": "0" * 64}
    for name, content in {
        "ingest": source | {"images": 12, "sources": {"x": source}},
        "filter": filtered | {"components": {"count": 0, "largest_share": 0.0}},
        "listener": {},
        "prescore": {"prior_accuracy": None, "position_bias": None},
    }.items():
        (data / name).mkdir(parents=True, exist_ok=True)
        (data / name / "summary.json").write_text(json.dumps(content))
    (data / "train").mkdir(exist_ok=True)
    (data / "train" / "log.csv").write_text(
        "step,reward,reward_accuracy,reward_listener,contradiction,groups_without_spread,entropy\n"
        "1,1,0.5,0.5,,0,1\n2,1.5,0.6,0.5,0.1,0,0.9\n"
    )


def leave_measured(folder: Path, models: Sequence[str] = ("warmstart", "released")) -> None:
    """The tables of the stage `measure`, made up; groups have names that would like to be HTML, or a formula."""
    at = [{"model": model, "split": "test"} for model in models]
    span = {"accuracy": 0.7, "low": 0.6, "high": 0.8}
    groups = (("source", SOURCES), ("generator", (HOSTILE, "$x_", "m")), ("votes", ("10-19", "20+", "5-9")))
    tables = {
        "calibration": [row | {"confidence": c, "accuracy": c, "n": 3} for row in at for c in (0.55, 0.75, 0.95)],
        "abstention": [row | {"coverage": share} | span for row in at for share in (0.5, 1.0)],
        "consistency": [{"model": "released", "k": k} | span for k in (1, 2, 4, 8, 16)],
        "breakdown": [
            row | {"by": by, "group": name} | span | {"n": 3} for row in at for by, of in groups for name in of
        ],
        "protocols": [
            {"model": model, "protocol": name, "value": value, "n": 6}
            for model in models
            for name, value in (("pairs", 0.5), ("imagereward", 0.625), ("hpdv3", None))
        ],
    }
    (folder / "data" / "measure").mkdir(parents=True)
    for name, rows in tables.items():
        pl.DataFrame(rows).write_csv(folder / "data" / "measure" / f"{name}.csv")


def world(**report: int) -> Params:
    """The default profile with other values of `report`."""
    params = load_params(ROOT / "profiles" / "world.yaml")
    return params.model_copy(update={"report": params.report.model_copy(update=report)})


def hear(predictions: pl.DataFrame) -> pl.DataFrame:
    """`records.HEARD` rows of one listener, who believes what `predictions` say of it."""
    told = predictions.drop_nulls("listener_p_a").with_columns(listener=pl.lit("listener"), p_a="listener_p_a")
    return told.select(HEARD.names())


def build(out: Path, samples: Sequence[Sample], **options: Any) -> str:
    """The report of `samples` and made-up predictions of them, built in `out`; returns the page."""
    predictions = options.pop("predictions", None)
    predictions = some_predictions(samples) if predictions is None else predictions
    given = {"params": world(), "heard": hear(predictions), "metrics": metrics_of(predictions), "samples": samples}
    given |= options
    build_report(out, predictions=predictions, **given)
    return (out / "index.html").read_text(encoding="utf-8")


def said_of(pairs: pl.DataFrame, right: dict[str, str]) -> pl.DataFrame:
    """Of a released model: `right` has the orders in which a pair is right, `ab ba` where nothing is said."""
    rows = []
    for pair in pairs.iter_rows(named=True):
        for order in ("ab", "ba"):
            correct = order in right.get(pair["pair_id"], "ab ba")
            row: dict[str, Any] = {name: pair[name] for name in ("pair_id", "split", "label")} | {"correct": correct}
            row |= {
                "model": "released",
                "prompt_id": pair["pair_id"],
                "order": order,
                "choice": "a" if correct else "b",
            }
            row |= {"completion": "", "explanation": f"{HOSTILE} {order}", "p_a": 0.5, "listener_p_a": 0.5}
            rows.append(row | {"contradiction": False, "faithful": None})
    return pl.DataFrame(rows, schema=PREDICTION)


def leave_run(folder: Path, said: pl.DataFrame) -> None:
    """The outputs of a run without shards."""
    write(said, folder / "data" / "evaluate" / "predictions.parquet", PREDICTION)
    (folder / "metrics.json").write_text(json.dumps({"released": {"test": {"accuracy": NOTHING}}}))


def leave_shards(folder: Path, pairs: pl.DataFrame, images: Path) -> None:
    """The shards of a run; `images` is the pack that has the images of `pairs`."""
    write_shards(pairs, PackedImages(images), {}, SETTINGS, folder / "data" / "shards")
