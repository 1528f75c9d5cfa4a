"""The report: one file that says whether the released model is better, by how much, how sure that is, and what that rests on.

Self-contained: styles, script, plots and thumbnails are inside, so it works from a folder without a network, and without the
script it is one long page. Each page is a module with a template of its own; one that has nothing to show is left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from suasion.evaluation.ablation_page import ablation_page
from suasion.evaluation.evaluation_page import evaluation_page
from suasion.evaluation.gallery import examples, gallery_page
from suasion.evaluation.names import MODELS, REFERENCES
from suasion.evaluation.pages import Page, document, render, shown, span
from suasion.evaluation.plots import Dot, interval_plot
from suasion.evaluation.training_page import training_page
from suasion.evaluation.verdict import make_checks, verdict
from suasion.evaluation.votes_page import votes_page
from suasion.params import Params
from suasion.shards.sample import Sample


def build_report(
    out: Path,
    *,
    params: Params,
    predictions: pl.DataFrame,
    heard: pl.DataFrame,
    metrics: dict[str, Any],
    samples: Sequence[Sample],
) -> None:
    """Write `index.html` to `out`, from the arguments and from what earlier stages left in `data/`.

    `predictions` and `heard` are tables of `records.PREDICTION` and `HEARD`. Beside the page, in `example/`, are `a.jpg`,
    `b.jpg` and `prompt.txt` of one test pair, for a first try of the release.
    """
    known = {sample.pair["pair_id"]: sample for sample in samples}
    chosen = examples(predictions, heard, known, params.report.gallery)
    found = [
        ("summary", "Summary", _summary(metrics, len(chosen))),
        ("data", "Data", votes_page()),
        ("training", "Training", training_page()),
        ("ablation", "Ablation", ablation_page(metrics)),
        ("evaluation", "Evaluation", evaluation_page(metrics)),
    ]
    taken = sum(len(body.encode()) for _, _, body in found if body)
    found.append(("gallery", "Examples", gallery_page(chosen, known, taken)))
    pages = [Page(name, title, body) for name, title, body in found if body is not None]
    out.mkdir(parents=True)
    title = f"Suasion report: {params.release.name}, profile {params.profile}"
    (out / "index.html").write_text(document(title, pages), encoding="utf-8")
    if chosen:
        first = known[chosen[0]["pair_id"]]
        (out / "example").mkdir()
        (out / "example" / "a.jpg").write_bytes(first.image_a)
        (out / "example" / "b.jpg").write_bytes(first.image_b)
        (out / "example" / "prompt.txt").write_text(first.pair["prompt"], encoding="utf-8")


def _summary(metrics: dict[str, Any], size: int) -> Markup:
    models = {name: label for name, label in MODELS.items() if name in metrics}
    checks = make_checks(metrics)
    return render(
        "summary.html.jinja",
        verdict=verdict(metrics, checks),
        checks=checks,
        metrics=metrics,
        models=models,
        references=REFERENCES,
        examples=size,
        plot=_accuracies(metrics, models),
    )


def _accuracies(metrics: dict[str, Any], models: dict[str, str]) -> str | None:
    found = {label: metrics[name]["test"]["accuracy"] for name, label in models.items()}
    found |= {label: metrics["references"][name]["test"] for name, label in REFERENCES.items()}
    found = {label: estimate for label, estimate in found.items() if estimate["value"] is not None}
    if not found:
        return None
    dots = [Dot(label, *(100 * estimate[key] for key in ("value", "low", "high"))) for label, estimate in found.items()]
    said = "; ".join(f"{label} {shown(estimate['value'])} ({span(estimate)})" for label, estimate in found.items())
    text = f"Accuracy on test pairs in percent, with its interval; chance is 50: {said}."
    return interval_plot({"accuracy": dots}, x="accuracy, % (dashed: chance)", text=text, marked=50, wide=True)
