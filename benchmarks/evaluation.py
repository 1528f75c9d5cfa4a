"""What an interval costs: 10,000 bootstrap resamples over 60,000 pairs.

    python -m benchmarks.evaluation

Every pair has a prompt of its own, which is the dearest case (ten pairs a prompt cost a tenth), and a value like no other's, so
that nothing can be lumped together. Each time is that of one estimate, the median of several, taken in turn: an accuracy, the
paired difference of two, and an accuracy at five pairs a prompt. Memory is the peak of this process less that of its imports.
The numbers are compared with the normal approximation, which is near the truth at this size. The last line is one JSON object;
the command fails where a limit is missed.
"""

import json
import math
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap, paired

PAIRS, RESAMPLES, ROUNDS = 60_000, 10_000, 5
LIMITS = {"seconds": 3.0, "paired_seconds": 3.0, "extra_mib": 256.0}


def main() -> None:
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(PAIRS)]
    first, second = rng.random(PAIRS), rng.random(PAIRS)
    rows = [pl.DataFrame({"pair_id": names, "prompt_id": names, "x": values}) for values in (first, second)]
    fives = rows[0].with_columns(prompt_id=pl.Series(names[: PAIRS // 5] * 5))
    work: dict[str, Callable[[], Estimate]] = {
        "seconds": lambda: bootstrap(rows[0], "x", resamples=RESAMPLES, seed=1),
        "paired_seconds": lambda: paired(*rows, "x", resamples=RESAMPLES, seed=1),
        "five_a_prompt_seconds": lambda: bootstrap(fives, "x", resamples=RESAMPLES, seed=1),
    }
    before = peak()
    taken: dict[str, list[float]] = {name: [] for name in work}
    found: dict[str, Estimate] = {}
    for _ in range(ROUNDS):
        for name, one in work.items():
            started = time.perf_counter()
            found[name] = one()
            taken[name].append(time.perf_counter() - started)
    width = 2 * 1.959964 * first.std() / math.sqrt(PAIRS)
    measured = found["seconds"]["high"] - found["seconds"]["low"]  # type: ignore[operator]
    result = {name: round(statistics.median(seconds), 3) for name, seconds in taken.items()}
    result |= {"extra_mib": round((peak() - before) / 2**20, 1)}
    missed = [
        f"{name} is {result[name]}, {most} at most is wanted" for name, most in LIMITS.items() if result[name] > most
    ]
    if abs(measured / width - 1) > 0.05:
        missed.append(f"the interval is {measured:.6f} wide, the normal approximation {width:.6f}")
    print("\n".join(missed) or "all limits are met")
    rest = {"pairs": PAIRS, "resamples": RESAMPLES, "limits": LIMITS, "all_seconds": taken["seconds"]}
    print(json.dumps(result | rest | {"width_vs_normal": round(measured / width, 4)}))
    raise SystemExit(1 if missed else 0)


def peak() -> float:
    """Most memory that this process has held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
