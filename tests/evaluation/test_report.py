import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from suasion.evaluation.metrics import measure
from suasion.evaluation.plots import line_plot
from suasion.evaluation.report import build_report, gallery, verdict
from suasion.evaluation.ties import measure_ties
from suasion.params import ROOT, load_params
from suasion.records import DROP, PAIR, PREDICTION, VOTER, write
from suasion.shards.sample import Sample
from suasion.summary import command
from suasion.world.scenes import draw, encode, random_scene

HOSTILE = '<script>alert("x")</script>'
NOTHING = {"value": None, "low": None, "high": None, "n": 0}
NO_REFERENCES = {
    name: dict.fromkeys(("val", "test", "ood"), NOTHING)
    for name in ("always_a", "majority_generator", "held_out_rater")
}


@pytest.fixture
def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(6):
        values: dict[str, Any] = dict.fromkeys(PAIR.names())
        values |= {"pair_id": f"p{index}", "prompt_id": f"q{index}", "prompt": HOSTILE, "label": "a", "split": "test"}
        values |= {"votes_a": 5, "votes_b": 2, "votes_tie": 1, "p_a": 0.9}
        a, b = (encode(draw(random_scene(rng, groups=1), rng)) for _ in "ab")
        made.append(Sample(values, a, b, None, None))
    return made


@pytest.fixture
def predictions(samples: list[Sample]) -> pl.DataFrame:
    rows = []
    for model in ("warmstart", "released"):
        for index, sample in enumerate(samples):
            for order in ("ab", "ba"):
                choice = None if index == 5 else "ab"[index % 2 if model == "released" else 1]
                row = {
                    "model": model,
                    "order": order,
                    "completion": HOSTILE,
                    "choice": choice,
                    "correct": choice == "a",
                }
                row |= {"explanation": choice and HOSTILE, "listener_p_a": choice and 0.8, "faithful": None}
                row |= {"contradiction": None if choice is None else choice == "b"}
                rows.append({name: sample.pair[name] for name in ("pair_id", "prompt_id", "split", "label")} | row)
    return pl.DataFrame(rows, schema=PREDICTION)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What earlier stages leave, as small as it can be."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    write(
        pl.DataFrame([("ingest", "1", "image_missing", HOSTILE)], schema=DROP, orient="row"),
        data / "ingest" / "drops.parquet",
        DROP,
    )
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
    (data / "train").mkdir()
    (data / "train" / "log.csv").write_text(
        "step,reward,reward_accuracy,reward_listener,contradiction,groups_without_spread,entropy\n1,1,0.5,0.5,,0,1\n2,1.5,0.6,0.5,0.1,0,0.9\n"
    )
    return tmp_path


def metrics_of(predictions: pl.DataFrame) -> dict[str, Any]:
    metrics = measure(predictions, resamples=50, seed=0)
    for name in predictions["model"].unique():
        of_model = predictions.filter(pl.col("model") == name)
        metrics[name]["ties"] = measure_ties(of_model, resamples=50, seed=0)
    return metrics | {"references": NO_REFERENCES}


def test_the_report_stands_alone_and_escapes_what_comes_from_data(
    workspace: Path, predictions: pl.DataFrame, samples: list[Sample]
) -> None:
    params = load_params(ROOT / "profiles" / "world.yaml")
    metrics = metrics_of(predictions)
    pages = []
    for name in ("one", "two"):
        build_report(workspace / name, params=params, predictions=predictions, metrics=metrics, samples=samples)
        pages.append((workspace / name / "index.html").read_text())
    page = pages[0]
    assert pages[1] == page, "same inputs, same bytes"
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert 'href="votes.html"' in page
    assert 'href="index.html"' in (workspace / "one" / "votes.html").read_text()
    for remote in ('src="http', 'href="http', "url(http", "@import"):
        assert remote not in page
    assert page.count("<article") == 6
    assert "Pairs that people could not decide" not in page
    assert "is right on 50.0% of held-out pairs, which is no better than chance" in page


def test_an_example_is_left_for_a_first_try(workspace: Path, predictions: pl.DataFrame, samples: list[Sample]) -> None:
    params = load_params(ROOT / "profiles" / "world.yaml")
    metrics = metrics_of(predictions)
    assert command().endswith("A.png B.png")
    build_report(workspace / "report", params=params, predictions=predictions, metrics=metrics, samples=samples)
    program, verb, *rest = shlex.split(command())
    assert (program, verb) == (".venv/bin/suasion", "compare")
    assert rest[:4] == ["--model", "release", "--prompt", HOSTILE]
    assert Path(rest[4]).read_bytes() == samples[0].image_a
    assert Path(rest[5]).read_bytes() == samples[0].image_b


def test_ties_have_a_table_and_no_part_in_the_other_numbers(
    workspace: Path, predictions: pl.DataFrame, samples: list[Sample]
) -> None:
    params = load_params(ROOT / "profiles" / "world.yaml")
    tie = predictions.with_columns(
        pair_id="tie-" + pl.col("pair_id"), label=pl.lit("tie"), correct=pl.lit(value=False), p_a=pl.lit(0.5)
    )
    both = pl.concat([predictions, tie])
    metrics = metrics_of(both)
    alone = metrics_of(predictions)
    assert metrics["released"]["test"] == alone["released"]["test"]
    assert metrics["paired"] == alone["paired"]
    assert gallery(both, samples, 100) == gallery(predictions, samples, 100)
    build_report(workspace / "report", params=params, predictions=both, metrics=metrics, samples=samples)
    assert "Pairs that people could not decide" in (workspace / "report" / "index.html").read_text()


def test_right_and_wrong_examples_take_turns(predictions: pl.DataFrame, samples: list[Sample]) -> None:
    assert [row["correct"] for row in gallery(predictions, samples, 4)] == [True, False, True, False]
    assert len(gallery(predictions, samples, 100)) == 6


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.01, 0.1, "better"), (-0.1, -0.01, "worse"), (-0.1, 0.1, "unsure")]
)
def test_the_verdict_follows_the_interval(low: float, high: float, word: str) -> None:
    good = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 9}
    assert verdict({"value": (low + high) / 2, "low": low, "high": high, "n": 9}, good)[0] == word
    assert verdict(NOTHING, NOTHING)[0] == "unsure"


def test_a_gain_that_ends_at_chance_is_not_called_better() -> None:
    gain = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 9}
    word, sentence = verdict(gain, {"value": 0.367, "low": 0.27, "high": 0.466, "n": 9})
    assert word == "unsure"
    assert "36.7%" in sentence
    assert "no better than chance" in sentence


def test_a_plot_is_the_same_twice_and_follows_the_pages_colour() -> None:
    first, second = (line_plot({"a<b": ([1, 2, 3], [0.1, 0.5, 0.2])}, text='a "b"') for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert "currentColor" in first
    assert 'role="img" aria-label="a &quot;b&quot;"' in first
    assert "<script" not in first
