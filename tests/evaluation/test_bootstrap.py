from typing import Any

import numpy as np
import polars as pl
import pytest

from suasion.evaluation import bootstrap as module
from suasion.evaluation.bootstrap import bootstrap, bootstrap_sums, paired


def rows_of(values: Any, prompts: Any, **more: Any) -> pl.DataFrame:
    names = [str(prompt) for prompt in prompts]
    return pl.DataFrame({"pair_id": [str(n) for n in range(len(names))], "prompt_id": names, "x": values} | more)


def test_the_resamples_are_a_multinomial_and_these() -> None:
    """What today's figures rest on: NumPy's multinomial from the seed, prompts in the order of their names."""
    rng = np.random.default_rng(0)
    rows = rows_of(rng.random(30), np.arange(30) // 3)
    sums = rows.group_by("prompt_id").agg(pl.col("x").sum(), n=pl.len()).sort("prompt_id")
    counts = np.random.default_rng(5).multinomial(10, np.full(10, 0.1), size=400)
    means = (counts @ sums["x"].to_numpy()) / (counts @ sums["n"].to_numpy())
    found = bootstrap(rows, "x", resamples=400, seed=5)
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-6)
    assert found["value"] == pytest.approx(rows["x"].mean(), abs=1e-6)


def test_many_prompts_are_drawn_one_by_one_and_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = rows_of(rng.exponential(size=900), np.arange(900) // 3)
    table = bootstrap(rows, "x", resamples=4000, seed=1)
    monkeypatch.setattr(module, "TABLE", 0)
    monkeypatch.setattr(module, "CHUNK", 7000)
    drawn = bootstrap(rows, "x", resamples=4000, seed=1)
    assert drawn == bootstrap(rows, "x", resamples=4000, seed=1), "whichever thread took what"
    assert drawn["value"] == table["value"]
    width = table["high"] - table["low"]
    assert drawn["high"] - drawn["low"] == pytest.approx(width, rel=0.06)
    assert drawn["low"] == pytest.approx(table["low"], abs=0.06 * width)


def test_every_prompt_is_as_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of a resample sum to the prompts, their mean is 1 and their variance 1 - 1/prompts."""
    monkeypatch.setattr(module, "TABLE", 0)
    counts = module._drawn(np.eye(40), 3000, 0)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.1)
    assert counts.var() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_seeds_are_drawn_too_and_prompts_are_the_same_in_each() -> None:
    rng = np.random.default_rng(0)
    prompts, seeds = 200, 8
    hard, luck = rng.normal(0, 1, prompts), rng.normal(0, 1, seeds)
    frame = rows_of(
        (hard[None] + luck[:, None]).ravel(),
        np.tile(np.arange(prompts), seeds),
        seed=np.repeat(np.arange(seeds), prompts),
    )
    found = bootstrap(frame, "x", resamples=4000, seed=0)
    spread = np.sqrt(hard.var() / prompts + luck.var() / seeds)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * spread, rel=0.1)
    alone = bootstrap(frame.drop("seed"), "x", resamples=4000, seed=0)
    assert alone["high"] - alone["low"] == pytest.approx(2 * 1.96 * hard.std() / np.sqrt(prompts), rel=0.1)
    one = frame.filter(pl.col("seed") == 0)
    assert bootstrap(one, "x", resamples=99, seed=0) == bootstrap(one.drop("seed"), "x", resamples=99, seed=0)


def test_a_pair_of_a_seed_is_compared_with_itself() -> None:
    frame = rows_of(np.arange(6.0), [0, 1, 2] * 2, seed=[0, 0, 0, 1, 1, 1]).with_columns(
        pair_id=pl.Series(list("abc") * 2)
    )
    found = paired(frame.with_columns(pl.col("x") + 1), frame, "x", resamples=50, seed=0)
    assert (found["value"], found["low"], found["high"], found["n"]) == (1.0, 1.0, 1.0, 6)


def test_what_is_nowhere_defined_is_null() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert (
        bootstrap(
            rows_of(
                [None, None],
                [0, 1],
            ).cast({"x": pl.Float64}),
            "x",
            resamples=9,
            seed=0,
        )
        == nothing
    )
    rows = rows_of([1.0, 2.0], [0, 1])
    columns = np.array([[1.0, 0.0], [1.0, 0.0]])
    [found] = bootstrap_sums(rows, columns, lambda s: s[..., :1] / s[..., 1:] * 0, resamples=9, seed=0)
    assert found == nothing | {"n": 2}
    [found] = bootstrap_sums(
        rows, np.array([[3.0, 1.0], [0.0, 0.0]]), lambda s: s[..., :1] / s[..., 1:], resamples=99, seed=0
    )
    assert found == {"value": 3.0, "low": 3.0, "high": 3.0, "n": 2}, (
        "resamples that miss what is divided by are left out"
    )
