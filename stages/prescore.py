"""Stage `prescore`: the listener's prior for every training pair, without any explanation."""

import json
from pathlib import Path

from suasion.records import PRESCORE, write
from suasion.stage import publish, stage


def main() -> None:
    with stage("prescore") as params, publish(Path("data/prescore")) as out:
        from suasion.listener.local import LocalListener
        from suasion.listener.prescore import prescore, summarise
        from suasion.shards import ShardDataset
        from suasion.vlm.load import load_model, load_processor

        folder = Path("data/listener/model")
        listener = LocalListener(load_model(folder), load_processor(folder), batch_size=params.prescore.batch_size)
        scores = prescore(ShardDataset("data/shards", "train"), listener)
        write(scores, out / "scores.parquet", PRESCORE)
        summary = summarise(scores)
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
