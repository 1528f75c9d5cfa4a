"""Stage `prescore`: the listener's prior for every training pair, without any explanation."""

import json
from pathlib import Path

from suasion.records import PRESCORE, write
from suasion.stage import publish, stage


def main() -> None:
    with stage("prescore") as params, publish(Path("data/prescore")) as out:
        from suasion.listener.prescore import prescore, summarise
        from suasion.shards import ShardDataset

        scores = prescore(ShardDataset("data/shards", "train"), Path("data/listener/model"), params=params)
        write(scores, out / "scores.parquet", PRESCORE)
        summary = summarise(scores)
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
