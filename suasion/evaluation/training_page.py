"""The report's page on training: curves by step, and how well the listener listens."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from suasion.evaluation.pages import render
from suasion.evaluation.plots import line_plot

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
    ("Distance from the warm start (KL)", "data/train/log.csv", {"kl": "KL"}),
    ("Length of a completion", "data/train/log.csv", {"length": "tokens"}),
    ("SFT, same compute", "data/train/sft_log.csv", {"loss": "loss"}),
    ("Cold start", "data/warmstart/log.csv", {"loss": "loss"}),
    ("Listener", "data/listener/log.csv", {"loss": "loss"}),
)
EXPLANATIONS = {
    "none": "none",
    "true": "true of the images",
    "corrupted": "false",
    "exchanged": "of the other image",
}


def training_page() -> Markup:
    """Its HTML, of the logs that there are in `data/`."""
    return render(
        "training.html.jinja",
        curves=[(title, plot) for title, path, columns in CURVES if (plot := _curve(title, Path(path), columns))],
        study=_json(Path("data/listener/summary.json")),
        prior=_json(Path("data/prescore/summary.json")),
        explanations=EXPLANATIONS,
    )


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _curve(title: str, path: Path, columns: dict[str, str]) -> str | None:
    if not path.is_file():
        return None
    table = pl.read_csv(path, infer_schema_length=None)
    lines = {
        label: table.select("step", value=pl.col(name).cast(pl.Float64)).drop_nulls()
        for name, label in columns.items()
        if name in table.columns
    }
    drawn = {label: (line["step"].to_list(), line["value"].to_list()) for label, line in lines.items() if line.height}
    ends = [f"{label} from {line[1][0]:.3g} to {line[1][-1]:.3g}" for label, line in drawn.items()]
    return line_plot(drawn, text=f"{title}, by step: {', '.join(ends)}.") if drawn else None
