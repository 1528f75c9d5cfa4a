"""Stage `evaluate`: what the models say on held-out pairs, in both orders."""

from pathlib import Path

import polars as pl

from suasion.records import PREDICTION, write
from suasion.stage import publish, stage

MODELS = {
    "warmstart": Path("data/warmstart/reasoner"),
    "released": Path("data/train/reasoner"),
    "sft": Path("data/train/sft"),
}


def main() -> None:
    with stage("evaluate") as params:
        from suasion.evaluation.predict import predict
        from suasion.evaluation.samples import evaluated

        samples = evaluated(Path("data/shards"), params.evaluate.max_pairs)
        predictions = pl.concat(
            predict(folder, Path("data/listener/model"), samples, name=name, params=params)
            for name, folder in MODELS.items()
            if folder.is_dir()
        )
        with publish(Path("data/evaluate")) as out:
            write(predictions, out / "predictions.parquet", PREDICTION)


if __name__ == "__main__":
    main()
