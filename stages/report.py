"""Stage `report`: the pages that people look at."""

import json
from pathlib import Path

from suasion.evaluation.report import build_report
from suasion.records import HEARD, PREDICTION, read
from suasion.stage import publish, stage


def main() -> None:
    with stage("report") as params:
        from suasion.evaluation.samples import evaluated

        with publish(Path("report")) as out:
            build_report(
                out,
                params=params,
                predictions=read(Path("data/evaluate/predictions.parquet"), PREDICTION),
                metrics=json.loads(Path("metrics.json").read_text()),
                samples=evaluated(Path("data/shards"), params.evaluate.max_pairs),
                heard=read(Path("data/evaluate/heard.parquet"), HEARD),
            )


if __name__ == "__main__":
    main()
