"""Stage `measure`: from what models said to numbers with intervals."""

import json
from pathlib import Path

from suasion.evaluation.measure import measure_all
from suasion.records import PAIR, PREDICTION, VOTE, read
from suasion.stage import publish, stage


def main() -> None:
    with stage("measure") as params:
        metrics = measure_all(
            read(Path("data/evaluate/predictions.parquet"), PREDICTION),
            read(Path("data/filter/pairs.parquet"), PAIR),
            read(Path("data/ingest/votes.parquet"), VOTE),
            resamples=params.measure.resamples,
            seed=params.seed,
        )
        with publish(Path("metrics.json")) as out:
            out.write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
