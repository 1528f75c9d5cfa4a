"""Intervals: 95% percentile bootstraps that draw prompts, not pairs, and models' seeds where there are several.

Pairs of one prompt stand and fall together, so a prompt is drawn with all of its pairs. Rows may come from several seeds
(column `seed`: the same recipe trained anew, asked about the same prompts); then each resample draws seeds and, apart from
them, prompts, and a row counts as often as its seed times as often as its prompt was drawn. (Drawing prompts anew within
each seed would take the same prompts for different ones, and be too sure.) Three seeds give a rough idea of their spread.

Every statistic here is a function of sums over rows, so a resample is a sum of prompts' sums, whatever the number of pairs.
Given up: intervals that correct for bias (BCa).
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

Estimate = dict[str, float | int | None]
Statistic = Callable[[np.ndarray], np.ndarray]
"""From sums, (..., columns), to what is estimated, (..., values)."""

TABLE = 4_000_000
"""Prompts times resamples up to which the counts are one table of NumPy's multinomial, kept for the next estimate."""

CHUNK = 2_000_000  # draws that one thread takes at a time
THREADS = 2


def bootstrap(rows: pl.DataFrame, name: str, *, resamples: int, seed: int) -> Estimate:
    """Mean of column `name` over rows, with its 95% interval from resampled prompts (column `prompt_id`).

    Rows without a value are left out; `n` is how many have one, and without any the numbers are null.
    """
    rows = rows.filter(pl.col(name).is_not_null())
    columns = np.column_stack([rows[name].cast(pl.Float64).to_numpy(), np.ones(rows.height)])
    return bootstrap_sums(rows, columns, _mean, resamples=resamples, seed=seed)[0]


def paired(first: pl.DataFrame, second: pl.DataFrame, name: str, *, resamples: int, seed: int) -> Estimate:
    """Mean difference of column `name`, `first` minus `second`, over the pairs that both have, with its interval.

    With a column `seed` in both, a pair of a seed is compared with the same pair of the same seed.
    """
    same = ["pair_id", "seed"] if "seed" in first.columns and "seed" in second.columns else ["pair_id"]
    both = first.join(second, on=same, suffix="_second", validate="1:1")
    difference = both.with_columns((pl.col(name) - pl.col(f"{name}_second")).alias("difference"))
    return bootstrap(difference, "difference", resamples=resamples, seed=seed)


def bootstrap_sums(
    rows: pl.DataFrame, columns: np.ndarray, statistic: Statistic, *, resamples: int, seed: int
) -> list[Estimate]:
    """Estimates of a function of column sums: `columns` is (n, k) float64, row by row beside `rows`.

    A value that is not defined, on the whole or in each resample, is null.
    """
    if rows.is_empty():
        nothing = statistic(np.full((1, columns.shape[1]), np.nan))[0]
        return [{"value": None, "low": None, "high": None, "n": 0} for _ in nothing]
    sums = _sums(rows, columns)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may miss what is divided by
        values = statistic(sums.sum(axis=(0, 1))[None])[0]
        drawn = statistic(_resampled(sums, resamples, seed))
    return [_estimate(value, spread, rows.height) for value, spread in zip(values, drawn.T, strict=True)]


def _mean(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., :1] / sums[..., 1:])


def _estimate(value: float, spread: np.ndarray, n: int) -> Estimate:
    spread = spread[~np.isnan(spread)]
    if np.isnan(value) or not len(spread):
        return {"value": None, "low": None, "high": None, "n": n}
    low, high = np.percentile(spread, [2.5, 97.5])
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high), "n": n}


def rounded(value: float) -> float:
    """Six places: more than any interval is worth, and the same on every machine."""
    return round(float(value), 6)


def _sums(rows: pl.DataFrame, columns: np.ndarray) -> np.ndarray:
    """Column sums of every seed and prompt, (seeds, prompts, k) float64."""
    prompts, prompt = np.unique(rows["prompt_id"].to_numpy(), return_inverse=True)
    seeds, seed = np.zeros(1), np.zeros(rows.height, dtype=np.int64)
    if "seed" in rows.columns:
        seeds, seed = np.unique(rows["seed"].to_numpy(), return_inverse=True)
    shape = (len(seeds), len(prompts))
    cell = np.ravel_multi_index((seed, prompt), shape)
    found = [np.bincount(cell, weights=column, minlength=shape[0] * shape[1]) for column in columns.T]
    return np.stack(found, axis=-1).reshape(*shape, -1)


def _resampled(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Column sums of every resample, (resamples, k), of (seeds, prompts, k); equal arguments draw the same prompts."""
    seeds, prompts, k = sums.shape
    table = sums.transpose(1, 0, 2).reshape(prompts, seeds * k)
    small = prompts * resamples <= TABLE
    drawn = _counts(prompts, resamples, seed) @ table if small else _drawn(table, resamples, seed)
    drawn = drawn.reshape(resamples, seeds, k)
    if seeds == 1:
        return np.asarray(drawn[:, 0])
    times = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    return np.asarray(np.einsum("rs,rsk->rk", times.astype(np.float64), drawn))


@functools.lru_cache(maxsize=4)
def _counts(prompts: int, resamples: int, seed: int) -> np.ndarray:
    """How often each prompt is drawn, (resamples, prompts) float64."""
    return np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples).astype(float)


def _drawn(table: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """What `_counts` times `table` is in distribution, without the counts: as many prompts are drawn one by one and summed.

    Every chunk has random numbers of its own, so it does not matter which thread takes it. NumPy lets go of the
    interpreter while it draws and gathers; the memory is a few draws per thread.
    """
    prompts, columns = len(table), np.ascontiguousarray(table.T)
    size = max(1, CHUNK // prompts)
    sizes = [min(size, resamples - start) for start in range(0, resamples, size)]
    streams = np.random.SeedSequence(seed).spawn(len(sizes))

    def chunk(count: int, stream: np.random.SeedSequence) -> np.ndarray:
        rng, sums = np.random.default_rng(stream), np.empty((count, len(columns)))
        for row in sums:
            places = rng.integers(prompts, size=prompts)
            row[:] = [column.take(places).sum() for column in columns]
        return sums

    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(chunk, sizes, streams)))
