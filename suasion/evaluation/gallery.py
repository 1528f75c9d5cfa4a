"""The report's page of examples: what the released model says of test pairs, and what the listeners make of it.

Pairs that people could not decide are left out: there is no right or wrong. Given up: more than `TEXT` characters of a
prompt or an explanation; `data/evaluate/predictions.parquet` has them whole.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from suasion.evaluation.names import LISTENERS
from suasion.evaluation.pages import render
from suasion.evaluation.thumbnails import with_pictures
from suasion.shards.sample import Sample

Ears = dict[tuple[str, str], list[tuple[str, float, bool]]]
"""Per pair and order what each listener believes: its name, its probability of A, whether it contradicts the answer."""

TEXT = 1500  # characters
ANSWERS = {"right": "right in both orders", "half": "right in one order", "wrong": "wrong in both orders"}
MARGINS = ((0.3, "under 0.3"), (0.45, "0.3 to 0.45"), (1, "0.45 and over"))
"""Upper bounds of |p_a - 0.5| of the votes."""

ORDERS = (
    ("n", "right and wrong in turn"),
    ("-confidence", "model surest first"),
    ("confidence", "model least sure first"),
    ("convinced", "listener least convinced first"),
    ("margin_", "closest votes first"),
    ("-votes", "most votes first"),
)


def gallery_page(examples: Sequence[dict[str, Any]], samples: Mapping[str, Sample], taken: int) -> Markup | None:
    """Its HTML, or None without examples; their pictures are as large as `taken` bytes of other pages leave room for."""
    if not examples:
        return None
    examples = with_pictures(examples, samples, [_said(example) for example in examples], taken)
    index = [_indexed(number, example) for number, example in enumerate(examples)]
    filters = [
        (
            "answer",
            "Answer",
            [(key, label) for key, label in ANSWERS.items() if any(e["answer"] == key for e in index)],
        ),
        ("contradiction", "Listener", [("yes", "contradicts the answer"), ("no", "agrees with it")]),
        ("source", "Source", [(name, name) for name in sorted({example["source"] for example in index})]),
        ("margin", "Margin of votes", [(name, name) for _, name in MARGINS if any(e["margin"] == name for e in index)]),
    ]
    return render("gallery.html.jinja", examples=examples, index=index, filters=filters, orders=ORDERS)


def _indexed(number: int, example: dict[str, Any]) -> dict[str, Any]:
    """What the script filters by (texts) and sorts by (numbers)."""
    pair, heard = example["pair"], [ear for answer in example["answers"] for ear in answer["heard"]]
    margin = abs(pair["p_a"] - 0.5)
    return {
        "id": f"example-{pair['pair_id']}",
        "answer": example["answer"],
        "contradiction": "yes" if any(ear["contradiction"] for ear in heard) else "no",
        "source": pair["source"] or "",
        "margin": next(name for bound, name in MARGINS if margin < bound),
        "n": number,
        "confidence": example["confidence"],
        "convinced": min((ear["p"] for ear in heard), default=0),
        "margin_": round(margin, 4),
        "votes": pair["n_votes"] or 0,
    }


def examples(
    predictions: pl.DataFrame, heard: pl.DataFrame, samples: Mapping[str, Sample], size: int
) -> list[dict[str, Any]]:
    """Up to `size` decided test pairs of the released model, as `gallery.html.jinja` shows them, without their pictures.

    Right ones, half right ones and wrong ones take turns as far as there are any. `heard` is a table of `records.HEARD`.
    """
    told = predictions.filter(
        (pl.col("model") == "released") & (pl.col("split") == "test") & (pl.col("label") != "tie")
    ).sort("pair_id", "order")
    ears = _ears(heard)
    pairs = [rows.to_dicts() for rows in told.partition_by("pair_id", maintain_order=True)]
    kinds: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in ANSWERS}
    for rows in pairs:
        kinds[_answer(rows)].append(rows)
    mixed = [rows for turn in itertools.zip_longest(*kinds.values()) for rows in turn if rows][:size]
    return [_example(rows, samples[rows[0]["pair_id"]], ears) for rows in mixed]


def _answer(rows: Sequence[dict[str, Any]]) -> str:
    right = sum(row["correct"] for row in rows)
    return "right" if right == len(rows) else "half" if right else "wrong"


def _example(rows: Sequence[dict[str, Any]], sample: Sample, ears: Ears) -> dict[str, Any]:
    """The rows of a pair, `ab` first, as one example; image 1 is A."""
    p = [row["p_a"] for row in rows if row["p_a"] is not None]
    return {
        "pair_id": sample.pair["pair_id"],
        "pair": sample.pair | {"prompt": clip(sample.pair["prompt"])},
        "answer": _answer(rows),
        "answer_said": ANSWERS[_answer(rows)],
        "answers": answers_of(rows, ears),
        "confidence": round(abs(sum(p) / len(p) - 0.5), 6) if p else 0,
    }


def answers_of(rows: Sequence[dict[str, Any]], ears: Ears) -> list[dict[str, Any]]:
    """What the model says in each order, `ab` first, and what the listeners make of it."""
    return [_of_order(row, ears.get((row["pair_id"], row["order"]), [])) for row in rows]


def _of_order(row: dict[str, Any], ears: Sequence[tuple[str, float, bool]]) -> dict[str, Any]:
    heard = [
        {
            "name": LISTENERS.get(name, name),
            "choice": "a" if p_a >= 0.5 else "b",
            "p": p_a if row["choice"] == "a" else 1 - p_a,
            "contradiction": contradiction,
        }
        for name, p_a, contradiction in ears
    ]
    said = row["explanation"] if row["choice"] is not None else row["completion"]
    names = ("order", "choice", "correct", "faithful")
    return {name: row[name] for name in names} | {"said": clip(said), "heard": heard}


def _ears(heard: pl.DataFrame) -> Ears:
    heard = heard.filter(pl.col("model") == "released").sort("pair_id", "order", "listener")
    found: Ears = {}
    for row in heard["pair_id", "order", "listener", "p_a", "contradiction"].iter_rows():
        found.setdefault(row[:2], []).append(row[2:])
    return found


def _said(example: dict[str, Any]) -> str:
    return "".join([example["pair"]["prompt"], *(answer["said"] for answer in example["answers"])])


def clip(text: str) -> str:
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"
