"""GenAI-Bench (arXiv 2406.04485): every vote counts, and of left, right, tie and both bad the model has to name the right one.

Source: `parse_response` and `main` in `inference.py` of TIGER-AI-Lab/GenAI-Bench. A model that says `A>B` is right on a left
vote, `B>A` on a right one; `A=B` is right on a tie and on "both bad"; an answer without a verdict is wrong; the mean over all.

What is different here: models there say "equal" in words. Ours name a side, so "equal" is said where the preference is nearer
to none than a threshold that makes the most answers right on validation (`suasion.evaluation.ties`), and where there is none.
Our models have no word for "both bad", and need none: `A=B` covers it.
"""

import polars as pl

from suasion.evaluation.protocols._table import TIES, Score
from suasion.evaluation.ties import fit_threshold


def genai_bench(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Share of all pairs that get the right one of left, right and equal; `n` counts pairs."""
    label = pl.when(pl.col("label").is_in(TIES)).then(pl.lit("tie")).otherwise(pl.col("label"))
    tried = tuning.select(label.alias("label"), p=(pl.col("preference") + 1) / 2)
    threshold = 2 * fit_threshold(tried["p"].to_numpy(), tried["label"].to_list())
    preference = pl.col("preference")
    said = (
        pl.when((preference == 0) | (preference.abs() < threshold))
        .then(pl.lit("tie"))
        .when(preference > 0)
        .then(pl.lit("a"))
        .when(preference < 0)
        .then(pl.lit("b"))
    )
    right = judged.select(right=(said == label).fill_null(value=False).cast(pl.Float64))["right"]
    return Score(float(right.mean()) if len(right) else None, len(right))  # type: ignore[arg-type]
