"""The report's page on what each part of training is worth: warm start, SFT of the same compute, GRPO."""

from typing import Any

from markupsafe import Markup

from suasion.evaluation.names import SPLITS
from suasion.evaluation.pages import render, shown, span
from suasion.evaluation.plots import Dot, interval_plot

ARMS = {
    "warmstart": ("Warm start", "before any vote"),
    "sft": ("SFT, same compute", "the warm start, taught the voted answers"),
    "released": ("GRPO (released)", "the warm start, rewarded for them, and by the listener"),
}


def ablation_page(metrics: dict[str, Any]) -> Markup | None:
    """Its HTML, or None where the warm start was never trained in more than one way."""
    arms = {name: said for name, said in ARMS.items() if name in metrics}
    if len(arms) < 2:
        return None
    splits = [split for split in SPLITS if metrics["released"][split]["accuracy"]["n"]]
    return render(
        "ablation.html.jinja",
        arms=arms,
        metrics=metrics,
        splits=[(split, SPLITS[split]) for split in splits],
        charts=[(f"Accuracy, {SPLITS[split].lower()}", _chart(metrics, arms, split)) for split in splits],
    )


def _chart(metrics: dict[str, Any], arms: dict[str, tuple[str, str]], split: str) -> str:
    found = {ARMS[arm][0]: metrics[arm][split]["accuracy"] for arm in arms}
    found = {name: estimate for name, estimate in found.items() if estimate["value"] is not None}
    dots = [Dot(name, *(100 * estimate[key] for key in ("value", "low", "high"))) for name, estimate in found.items()]
    said = "; ".join(f"{name} {shown(estimate['value'])} ({span(estimate)})" for name, estimate in found.items())
    text = f"Accuracy in percent with its interval, {SPLITS[split].lower()} pairs: {said}."
    return interval_plot({"accuracy": dots}, x="accuracy, %", text=text, marked=50)
