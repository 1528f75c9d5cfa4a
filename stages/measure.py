"""Stage `measure`: from what models said to numbers with intervals, and the tables behind the plots."""

import json
from pathlib import Path

from suasion.records import HEARD, PAIR, PREDICTION, SAMPLED, VOTE, read
from suasion.stage import publish, stage


def main() -> None:
    with stage("measure") as params:
        from suasion.evaluation.measure import measure_all

        metrics, tables = measure_all(
            read(Path("data/evaluate/predictions.parquet"), PREDICTION),
            read(Path("data/evaluate/heard.parquet"), HEARD),
            read(Path("data/evaluate/sampled.parquet"), SAMPLED),
            read(Path("data/filter/pairs.parquet"), PAIR),
            read(Path("data/ingest/votes.parquet"), VOTE),
            resamples=params.measure.resamples,
            seed=params.seed,
        )
        with publish(Path("data/measure")) as out:
            out.mkdir(parents=True)
            for name, table in tables.items():
                table.write_csv(out / f"{name}.csv")
        with publish(Path("metrics.json")) as out:
            out.write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
