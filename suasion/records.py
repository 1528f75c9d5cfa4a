"""The tables that stages hand to each other: their columns are the contract, checked at every stage boundary.

Given up: a schema library. A polars schema per table and one function say what is needed.
"""

from pathlib import Path

import polars as pl

from suasion.errors import SuasionError

CHOICES = ("a", "b", "tie", "both_bad")
SPLITS = ("train", "val", "test", "ood")
EVALUATED = ("val", "test", "ood")  # splits
LABELS = ("a", "b", "tie")

VOTE = pl.Schema(
    {
        "vote_id": pl.String,  # hash of the row's content, never of its position
        "pair_id": pl.String,
        "prompt_id": pl.String,
        "prompt": pl.String,
        "image_a": pl.String,  # sha256 of the image file's bytes as they came
        "image_b": pl.String,
        "annotator_id": pl.String,  # null where unknown
        "choice": pl.String,  # one of CHOICES
        "count": pl.Int64,  # votes that this row stands for; 1 where each row is one person's judgement
        "weight": pl.Float64,  # the source's trust score, else 1.0
        "voted_at": pl.Datetime("us"),  # null where unknown
        "source": pl.String,
        "source_split": pl.String,  # the split that the source itself gives, else null
        "model_a": pl.String,  # generator of the image, null where unknown
        "model_b": pl.String,
    }  # type: ignore[arg-type]  # mypy joins the types of columns to `object`
)

IMAGE = pl.Schema(
    {
        "sha256": pl.String,
        "tar": pl.String,  # file name beside the index
        "offset": pl.Int64,  # of the image's bytes in the tar
        "size": pl.Int64,  # bytes
        "width": pl.Int64,
        "height": pl.Int64,
        "format": pl.String,  # jpg, png or webp
        "phash": pl.Binary,  # 24 bytes: the perceptual hash of `suasion.images.phash`
    }
)

DROP = pl.Schema({"stage": pl.String, "id": pl.String, "reason": pl.String, "detail": pl.String})

PAIR = pl.Schema(
    {
        "pair_id": pl.String,
        "prompt_id": pl.String,
        "prompt": pl.String,
        "image_a": pl.String,
        "image_b": pl.String,
        "model_a": pl.String,
        "model_b": pl.String,
        "p_a": pl.Float64,  # posterior that A is preferred
        "n_votes": pl.Int64,
        "votes_a": pl.Int64,
        "votes_b": pl.Int64,
        "votes_tie": pl.Int64,
        "agreement": pl.Float64,  # share of the decided votes that are with the label
        "tie_rate": pl.Float64,
        "label": pl.String,  # one of LABELS
        "split": pl.String,  # one of SPLITS
        "source": pl.String,
    }
)

VOTER = pl.Schema(
    {
        "annotator_id": pl.String,
        "n_votes": pl.Int64,
        "n_decided": pl.Int64,
        "accuracy": pl.Float64,  # estimated probability that a decided vote is right
        "left_share": pl.Float64,  # share of the decided votes that are for A, as it was shown
        "tie_rate": pl.Float64,
        "seconds": pl.Float64,  # median from one vote to the next within a sitting; null without times
        "flagged": pl.Boolean,
        "flag": pl.String,  # low_accuracy, one_side or too_fast; null where not flagged
    }
)

HELD_OUT = pl.Schema(
    {
        "evaluation_set": pl.String,
        "prompt": pl.String,
        "sha256": pl.String,  # of an image, null where only the prompt is known
        "phash": pl.Binary,
    }
)
"""Evaluation sets of others, which no pair may overlap with."""

SPLIT = pl.Schema({"kind": pl.String, "id": pl.String, "split": pl.String})
"""A prompt (by prompt_id) or an image (by sha256) and the split that it is in for ever: train, val or test."""

SCENE = pl.Schema({"sha256": pl.String, "scene": pl.String})
"""What is known to be on an image: the embedded world's truth. Empty for real pictures."""

PRESCORE = pl.Schema(
    {
        "pair_id": pl.String,
        "split": pl.String,
        "p_a_prior": pl.Float64,  # listener without explanation, both orders averaged
        "position_bias": pl.Float64,  # its probability of the first image, both orders averaged, minus 0.5
    }
)

PREDICTION = pl.Schema(
    {
        "model": pl.String,  # warmstart, released, sft
        "pair_id": pl.String,
        "prompt_id": pl.String,
        "split": pl.String,
        "order": pl.String,  # ab or ba: which image was shown first
        "label": pl.String,  # a, b or tie
        "completion": pl.String,
        "explanation": pl.String,  # null where the completion does not parse
        "choice": pl.String,  # a or b; null where the completion does not parse
        "p_a": pl.Float64,  # the model's own probability of A at its answer; null where it does not parse
        "correct": pl.Boolean,  # false where it does not parse, and on a tie
        "listener_p_a": pl.Float64,  # the listener's probability of A given the explanation; null without one
        "contradiction": pl.Boolean,  # the listener prefers the other image; null without an explanation
        "faithful": pl.Boolean,  # describes both images exactly; null where the truth is unknown
    }
)

HEARD = pl.Schema(
    {
        "model": pl.String,
        "pair_id": pl.String,
        "order": pl.String,
        "listener": pl.String,  # `listener` of the reward, `warmstart` as one that had no part in it
        "p_a": pl.Float64,  # its probability of A given the explanation
        "contradiction": pl.Boolean,  # it prefers the other image than the answer does
    }
)
"""What listeners make of explanations; only of completions that parse."""


def write(frame: pl.DataFrame, path: Path, schema: pl.Schema) -> None:
    """Write `frame` to `path` as Parquet, columns and types as `schema` has them; the same rows give the same bytes."""
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, compression="zstd", compression_level=3, statistics=True)


def read(path: Path, schema: pl.Schema) -> pl.DataFrame:
    """Read the Parquet table at `path`.

    Raises:
        SuasionError: the file is missing, or its columns are not those of `schema`.
    """
    if not path.is_file():
        raise SuasionError(
            f"{path.name} is missing", where=str(path), do="run the earlier stages first: make repro, or dvc checkout"
        )
    frame = pl.read_parquet(path)
    if dict(frame.schema) != dict(schema):
        raise SuasionError(
            f"columns {dict(frame.schema)} where {dict(schema)} are expected",
            where=str(path),
            do="rebuild it with this version: dvc repro --force on the stage that writes it",
        )
    return frame
