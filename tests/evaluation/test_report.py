import base64
import hashlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from suasion.evaluation.gallery import examples
from suasion.evaluation.plots import Curve, Dot, curve_plot, interval_plot, line_plot
from suasion.evaluation.report import build_report
from suasion.evaluation.thumbnails import SIDES, room, thumbnail
from suasion.evaluation.verdict import Check, make_checks, verdict
from suasion.records import HEARD
from suasion.shards.sample import Sample
from suasion.summary import command
from tests.evaluation.finished import (
    HOSTILE,
    NOTHING,
    build,
    hear,
    leave,
    leave_measured,
    metrics_of,
    some_predictions,
    some_samples,
    world,
)


@pytest.fixture
def samples() -> list[Sample]:
    return some_samples()


@pytest.fixture
def predictions(samples: list[Sample]) -> pl.DataFrame:
    return some_predictions(samples)


def known(samples: list[Sample]) -> dict[str, Sample]:
    return {sample.pair["pair_id"]: sample for sample in samples}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What earlier stages leave, as small as it can be."""
    monkeypatch.chdir(tmp_path)
    leave(tmp_path)
    return tmp_path


def test_the_report_is_one_file_that_stands_alone_and_escapes_what_comes_from_data(
    workspace: Path, samples: list[Sample]
) -> None:
    leave_measured(workspace)
    page, again = (build(workspace / name, samples) for name in ("one", "two"))
    assert again == page, "same inputs, same bytes"
    assert {path.name for path in (workspace / "one").iterdir()} == {"index.html", "example"}
    assert HOSTILE not in page
    assert page.count("<script") == 2, "ours, and the data of the examples"
    assert page.count("&lt;script&gt;") > 20
    for remote in ('src="http', 'href="http', "url(http", "@import"):
        assert remote not in page
    assert page.count("<article") == 6
    assert "is right on 50.0% of the test pairs, which is not shown to be better than chance" in page


def test_a_browser_is_told_the_hash_of_the_one_script_that_may_run(workspace: Path, samples: list[Sample]) -> None:

    page = build(workspace / "report", samples)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_a_section_without_data_is_not_drawn(workspace: Path, samples: list[Sample]) -> None:
    sections = ('id="protocols"', 'id="confidence"', 'id="breakdowns"')
    bare = build(workspace / "bare", samples)
    leave_measured(workspace)
    full = build(workspace / "full", samples)
    assert [name in bare for name in sections] == [False] * 3
    assert [name in full for name in sections] == [True] * 3
    assert "Pairs that people could not decide" not in full, "there are none"
    alone = some_predictions(samples, models=["warmstart", "released", "sft"])
    assert "GRPO minus SFT" in build(workspace / "sft", samples, predictions=alone)


def test_protocols_stand_side_by_side_with_how_far_they_disagree(workspace: Path, samples: list[Sample]) -> None:
    leave_measured(workspace)
    page = build(workspace / "report", samples)
    rows = re.findall(r'<tr[^>]*><th scope="row"><code>(\w+)</code></th>(.*?)</tr>', page)
    assert [(name, re.findall(r">([\d.–]+)</td>", cells)) for name, cells in rows] == [
        ("pairs", ["50.0", "50.0"]),
        ("imagereward", ["62.5", "62.5"]),
        ("hpdv3", ["–", "–"]),
    ]
    assert re.search(r"Largest minus smallest, points</th><td[^>]*>12.5</td>", page)


def test_spans_of_numbers_stand_in_their_order(workspace: Path, samples: list[Sample]) -> None:
    leave_measured(workspace)
    page = build(workspace / "report", samples)
    table = page.partition("Number of votes in numbers")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">([^<]+)</th>', table) == ["5-9", "10-19", "20+"]


def test_a_table_without_numbers_is_no_drawing(workspace: Path, samples: list[Sample]) -> None:
    leave_measured(workspace)
    for name in ("abstention", "consistency", "calibration"):
        path = workspace / "data" / "measure" / f"{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    assert 'id="confidence"' not in build(workspace / "report", samples)
    nothing = pl.DataFrame({"model": ["released"], "k": [1], "accuracy": [None], "low": [None], "high": [None]})
    nothing.write_csv(workspace / "data" / "measure" / "consistency.csv")
    assert 'id="confidence"' not in build(workspace / "again", samples)


def test_numbers_that_a_later_stage_adds_are_shown(workspace: Path, samples: list[Sample]) -> None:
    metrics = metrics_of(some_predictions(samples))
    test = metrics["released"]["test"]
    test |= {"brier": {"value": 0.125, "low": 0.1, "high": 0.15, "n": 6}, "contradiction_by": {"warmstart": NOTHING}}
    metrics["warmstart"]["test"]["contradiction_by"] = {"warmstart": {"value": 0.25, "low": 0.2, "high": 0.3, "n": 6}}
    metrics["paired"]["released_vs_warmstart"]["test"]["mcnemar"] = {"better": 3, "worse": 1, "p": 0.625}
    page = build(workspace / "report", samples, metrics=metrics)
    assert '<td data-name="Brier score">0.125<small>0.100 to 0.150</small></td>' in page
    assert '<td data-name="Warm start as listener">25.0<small>20.0 to 30.0</small></td>' in page
    assert "3 pairs got better and 1 worse (McNemar&#39;s p 0.625)" in page


def test_an_example_is_left_for_a_first_try(workspace: Path, samples: list[Sample]) -> None:
    assert command().endswith("A.png B.png")
    build(workspace / "report", samples)
    program, verb, *rest = shlex.split(command())
    assert (program, verb) == (".venv/bin/suasion", "compare")
    assert rest[:4] == ["--model", "release", "--prompt", samples[0].pair["prompt"]]
    assert Path(rest[4]).read_bytes() == samples[0].image_a
    assert Path(rest[5]).read_bytes() == samples[0].image_b


def test_ties_have_a_table_and_no_part_in_the_other_numbers(
    workspace: Path, predictions: pl.DataFrame, samples: list[Sample]
) -> None:
    tie = predictions.with_columns(
        pair_id="tie-" + pl.col("pair_id"), label=pl.lit("tie"), correct=pl.lit(value=False), p_a=pl.lit(0.5)
    )
    both = pl.concat([predictions, tie])
    metrics = metrics_of(both)
    alone = metrics_of(predictions)
    assert metrics["released"]["test"] == alone["released"]["test"]
    assert metrics["paired"] == alone["paired"]
    assert examples(both, hear(both), known(samples), 100) == examples(
        predictions, hear(predictions), known(samples), 100
    )
    assert "Pairs that people could not decide" in build(workspace / "report", samples, predictions=both)


def test_right_and_wrong_examples_take_turns(predictions: pl.DataFrame, samples: list[Sample]) -> None:
    assert [row["answer"] for row in examples(predictions, hear(predictions), known(samples), 4)] == [
        "right",
        "wrong",
        "right",
        "wrong",
    ]
    assert len(examples(predictions, hear(predictions), known(samples), 100)) == 6
    first = (pl.col("pair_id") == "p0") & (pl.col("order") == "ba")
    changed = predictions.with_columns(correct=pl.when(first).then(pl.lit(value=False)).otherwise("correct"))
    found = examples(changed, hear(changed), known(samples), 3)
    assert [row["answer"] for row in found] == ["right", "half", "wrong"]
    assert [answer["order"] for answer in found[0]["answers"]] == ["ab", "ba"]


def test_every_listener_is_heard(workspace: Path, predictions: pl.DataFrame, samples: list[Sample]) -> None:
    rows = [("released", "p0", "ab", name, p_a, p_a < 0.5) for name, p_a in (("listener", 0.75), ("warmstart", 0.375))]
    heard = pl.DataFrame(rows, schema=HEARD, orient="row")
    (example,) = [row for row in examples(predictions, heard, known(samples), 6) if row["pair"]["pair_id"] == "p0"]
    assert [(ear["choice"], ear["p"], ear["contradiction"]) for ear in example["answers"][0]["heard"]] == [
        ("a", 0.75, False),
        ("b", 0.375, True),
    ]
    page = build(workspace / "report", samples, heard=heard)
    assert "Warm start as listener: image 2, 37.5% for the answer" in page


def metrics(low: float, high: float, accuracy: tuple[float, float] = (0.7, 0.9), **others: Any) -> dict[str, Any]:
    def estimate(low: float, high: float) -> dict[str, Any]:
        return {"value": (low + high) / 2, "low": low, "high": high, "n": 9}

    before = {split: {"accuracy": estimate(low, high)} for split in ("test", "ood")}
    for name, ends in others.items():
        split, measure = name.split("_")
        before[split][measure] = estimate(*ends)
    return {
        "paired": {"released_vs_warmstart": before},
        "released": {"test": {"accuracy": estimate(*accuracy)}},
        "warmstart": {"test": {"accuracy": estimate(0.4, 0.6)}},
    }


@pytest.mark.parametrize(
    ("given", "tone", "headline"),
    [
        (metrics(0.01, 0.1), "better", "Ship it"),
        (metrics(-0.1, -0.01), "worse", "Do not ship it"),
        (metrics(-0.1, 0.1), "unsure", "Do not ship it yet"),
        (metrics(0.01, 0.1, (0.4, 0.6)), "unsure", "Do not ship it yet"),
        (metrics(0.01, 0.1, (0.27, 0.47)), "worse", "Do not ship it"),
        (metrics(0.01, 0.1, ood_accuracy=(-0.2, -0.1)), "unsure", "Better, but look first"),
        (metrics(0.01, 0.1, test_contradiction=(0.1, 0.2)), "unsure", "Better, but look first"),
        (metrics(0.01, 0.1, test_contradiction=(-0.2, -0.1)), "better", "Ship it"),
    ],
)
def test_the_verdict_follows_the_intervals(given: dict[str, Any], tone: str, headline: str) -> None:
    found = verdict(given, make_checks(given))
    assert (found.tone, found.headline) == (tone, headline)


def test_what_was_not_measured_is_not_asked() -> None:
    given = metrics(0.01, 0.1)
    assert [check.word for check in make_checks(given)] == ["Yes", "Yes", "Yes"]
    given["paired"]["released_vs_warmstart"]["test"]["accuracy"] = NOTHING
    given["released"]["test"]["accuracy"] = NOTHING
    assert verdict(given, []).sentence.startswith("There are no test pairs")
    assert all(isinstance(check, Check) for check in make_checks(given))


def test_a_report_without_test_pairs_says_so(workspace: Path, predictions: pl.DataFrame) -> None:
    other = predictions.with_columns(split=pl.lit("val"))
    build_report(
        workspace / "report",
        params=world(),
        predictions=other,
        heard=hear(other),
        metrics=metrics_of(other),
        samples=[],
    )
    page = (workspace / "report" / "index.html").read_text()
    assert "There are no test pairs, so nothing can be said" in page
    assert 'href="#gallery"' not in page


@pytest.mark.parametrize("size", [2, 50, 500])
def test_a_picture_fits_its_room(size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)

    image = Image.fromarray(noise)
    most = room(["x" * 1500] * size, 500_000)
    url = thumbnail(image, most)
    assert url.startswith("data:image/webp;base64,")
    assert len(url) <= most * 4 // 3 + 40
    assert image.size == (400, 300), "the sample's own stays as it is"
    assert len(url) > 200
    assert SIDES[0] >= 256


def test_a_plot_is_the_same_twice_and_follows_the_pages_colour() -> None:
    first, second = (line_plot({"a<b": ([1, 2, 3], [0.1, 0.5, 0.2])}, text='a "b"') for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert "currentColor" in first
    assert 'role="img" aria-label="a &quot;b&quot;"' in first
    assert "<script" not in first


def test_two_drawings_on_a_page_share_no_name() -> None:
    drawings = [
        curve_plot({"m": Curve([1, 2], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7])}, x="x", y="y", text=text, doubling=True)
        for text in ("one", "two")
    ]
    names = [set(re.findall(r'id="([^"]+)"', drawing)) for drawing in drawings]
    assert names[0]
    assert not names[0] & names[1]


def test_a_label_from_data_is_text_and_not_a_formula() -> None:
    dots = [Dot(label, 0.5, 0.4, 0.6) for label in (HOSTILE, "$x_", "a" * 99, "猫")]
    drawing = interval_plot({"m": dots, "n": dots[:1]}, x="x", text="t", marked=0.5)
    assert "<script" not in drawing
    assert "$x_" in drawing
    assert "猫" in drawing
    assert "a" * 60 not in drawing


def test_a_long_curve_stays_a_small_drawing() -> None:
    y = np.random.default_rng(0).random(50_000)
    assert len(line_plot({"m": (range(len(y)), y)}, text="t")) < 60_000


def test_five_hundred_large_pictures_with_long_texts_stay_under_5_mb(workspace: Path) -> None:
    leave_measured(workspace)
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(4):  # noise over large shapes: harder to compress than photographs are
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((384, 384))
        noisy = np.asarray(coarse, dtype=int) + rng.normal(0, 12, (384, 384, 3))
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
        pictures.append(buffer.getvalue())
    small = some_samples(1)[0]
    samples = [
        Sample(
            small.pair | {"pair_id": f"p{number:03}", "prompt_id": f"q{number}", "prompt": f"{'long <prompt> ' * 20}"},
            pictures[number % 4],
            pictures[(number + 1) % 4],
            None,
            None,
        )
        for number in range(510)
    ]
    said = some_predictions(samples).with_columns(explanation=pl.lit("what <it> says & says " * 40))
    page = build(workspace / "report", samples, predictions=said)
    assert page.count("<article") == 500
    assert 2_000_000 < len(page.encode()) < 5_000_000
