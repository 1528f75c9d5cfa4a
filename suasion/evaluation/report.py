"""The report: a page that says whether the released model is better, by how much, and how sure that is; and one on the votes.

Self-contained (styles, plots and thumbnails inline), no scripts, works from a folder without a network. Text from data is
escaped by the template engine. Given up: filters and search in the gallery.
"""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from suasion.evaluation.pages import render
from suasion.evaluation.plots import line_plot
from suasion.evaluation.votes_page import ledgers, summaries, votes_page
from suasion.params import Params
from suasion.records import EVALUATED
from suasion.shards.sample import Sample

NAMES = {"warmstart": "Warm start", "released": "Released", "sft": "SFT, same compute"}
REFERENCES = {
    "held_out_rater": "One rater against the others",
    "majority_generator": "Always the generator that wins most",
    "always_a": "Always the first-listed image",
}
CURVES = (
    (
        "Reward in GRPO",
        "data/train/log.csv",
        {"reward": "reward", "reward_accuracy": "accuracy", "reward_listener": "listener"},
    ),
    (
        "Contradictions in GRPO",
        "data/train/log.csv",
        {"contradiction": "contradiction", "groups_without_spread": "groups without spread"},
    ),
    ("Entropy in GRPO", "data/train/log.csv", {"entropy": "entropy"}),
    ("Cold start", "data/warmstart/log.csv", {"loss": "loss"}),
    ("Listener", "data/listener/log.csv", {"loss": "loss"}),
)
MEASURE_NAMES = {
    "accuracy": "accuracy",
    "contradiction": "contradiction",
    "fidelity": "fidelity",
    "parsed": "parses",
    "flip": "flips with order",
}
SPLIT_NAMES = {"val": "Validation", "test": "Test", "ood": "Out of distribution"}
THUMBNAIL = 160  # pixels a side


def build_report(
    out: Path, *, params: Params, predictions: pl.DataFrame, metrics: dict[str, Any], samples: Sequence[Sample]
) -> None:
    """Write `index.html` and `votes.html` to `out`, from the arguments and from what earlier stages left in `data/`.

    Beside it, in `example/`, are `a.jpg`, `b.jpg` and `prompt.txt` of one test pair, for a first try of the release.
    """
    examples = gallery(predictions, samples, params.report.gallery)
    models = {name: NAMES[name] for name in NAMES if name in metrics}
    filtered, ingested = summaries()
    page = render(
        "report.html.jinja",
        params=params,
        metrics=metrics,
        models=models,
        splits=EVALUATED,
        split_names=SPLIT_NAMES,
        has_ties=any(metrics[name]["ties"][split]["n_ties"] for name in models for split in EVALUATED),
        measures=MEASURE_NAMES,
        references=REFERENCES,
        verdict=verdict(
            metrics["paired"]["released_vs_warmstart"]["test"]["accuracy"], metrics["released"]["test"]["accuracy"]
        ),
        ledgers=ledgers(ingested, filtered),
        filtered=filtered,
        listener=_listener(),
        curves=[(title, plot) for title, path, columns in CURVES if (plot := _curve(title, Path(path), columns))],
        gallery=examples,
        percent=percent,
        points=points,
    )
    out.mkdir(parents=True)
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "votes.html").write_text(votes_page(params), encoding="utf-8")
    if examples:
        shown = next(sample for sample in samples if sample.pair["pair_id"] == examples[0]["pair_id"])
        (out / "example").mkdir()
        (out / "example" / "a.jpg").write_bytes(shown.image_a)
        (out / "example" / "b.jpg").write_bytes(shown.image_b)
        (out / "example" / "prompt.txt").write_text(shown.pair["prompt"], encoding="utf-8")


def verdict(difference: dict[str, Any], accuracy: dict[str, Any]) -> tuple[str, str]:
    """Whether training helped, in a word (better, worse, unsure) and in a sentence.

    `difference` is the paired one to the warm start, `accuracy` the released model's own: a gain that ends at chance or
    below is no better judge, whatever the warm start did.
    """
    if difference["value"] is None:
        return "unsure", "There are no test pairs, so nothing can be said about the released model."
    size = points(difference)
    if difference["high"] < 0:
        return "worse", f"The released model is worse than the warm start on held-out pairs: {size} points of accuracy."
    if difference["low"] <= 0:
        said = "On held-out pairs the released model cannot be told from the warm start"
        return "unsure", f"{said}: {size} points of accuracy."
    if accuracy["low"] <= 0.5:
        said = f"The released model is right on {percent(accuracy)}% of held-out pairs, which is no better than chance"
        return "unsure", f"{said}; training added {size} points of accuracy."
    return "better", f"The released model is better than the warm start on held-out pairs: {size} points of accuracy."


def percent(estimate: dict[str, Any]) -> str:
    """`63.1` or, where there is no estimate, an empty string."""
    return "" if estimate["value"] is None else f"{100 * estimate['value']:.1f}"


def points(estimate: dict[str, Any]) -> str:
    """A difference with its interval in points: `+5.2 (95% interval +1.0 to +9.4)`."""
    value, low, high = (f"{100 * estimate[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} (95% interval {low} to {high})"


def gallery(predictions: pl.DataFrame, samples: Sequence[Sample], size: int) -> list[dict[str, Any]]:
    """Examples of the released model, A shown first: up to `size` test pairs, wrong answers and right ones in turn."""
    told = predictions.filter(
        (pl.col("model") == "released")
        & (pl.col("order") == "ab")
        & (pl.col("split") == "test")
        & (pl.col("label") != "tie")
    ).sort("pair_id")
    wrong, right = (told.filter(pl.col("correct") == flag).to_dicts() for flag in (False, True))
    mixed = [row for both in zip(right, wrong, strict=False) for row in both]
    rest = right[len(wrong) :] + wrong[len(right) :]
    known = {sample.pair["pair_id"]: sample for sample in samples}
    return [_example(row, known[row["pair_id"]]) for row in [*mixed, *rest][:size]]


def _example(row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    p_a = row["listener_p_a"]
    return row | {
        "pair": sample.pair,
        "thumbnail_a": _thumbnail(sample.open_a()),
        "thumbnail_b": _thumbnail(sample.open_b()),
        "listener": None if p_a is None else max(p_a, 1 - p_a),
        "listener_choice": None if p_a is None else "a" if p_a >= 0.5 else "b",
    }


def _thumbnail(image: Image.Image) -> str:
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _listener() -> dict[str, Any]:
    study: dict[str, Any] = json.loads(Path("data/listener/summary.json").read_text())
    return {"study": study, "prior": json.loads(Path("data/prescore/summary.json").read_text())}


def _curve(title: str, path: Path, columns: dict[str, str]) -> str | None:
    if not path.is_file():
        return None
    table = pl.read_csv(path, infer_schema_length=None)
    lines = {label: table.select("step", value=pl.col(name)).drop_nulls() for name, label in columns.items()}
    drawn = {label: (line["step"].to_list(), line["value"].to_list()) for label, line in lines.items() if line.height}
    ends = [f"{label} from {line[1][0]:.3g} to {line[1][-1]:.3g}" for label, line in drawn.items()]
    return line_plot(drawn, text=f"{title}, by step: {', '.join(ends)}.") if drawn else None
