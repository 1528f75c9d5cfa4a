"""Stage `evaluate`: what the models say of held-out pairs, in both orders, and what listeners hear in it."""

from pathlib import Path

import polars as pl

from suasion.records import HEARD, PREDICTION, SAMPLED, write
from suasion.stage import publish, stage

MODELS = {
    "warmstart": Path("data/warmstart/reasoner"),
    "released": Path("data/train/reasoner"),
    "sft": Path("data/train/sft"),
}


def main() -> None:
    with stage("evaluate") as params:
        from suasion.evaluation.predict import LISTENERS, predict
        from suasion.evaluation.sampled import sample_answers
        from suasion.evaluation.samples import evaluated

        samples = evaluated(Path("data/shards"), params.evaluate.max_pairs)
        told = [
            predict(folder, LISTENERS, samples, name=name, params=params)
            for name, folder in MODELS.items()
            if folder.is_dir()
        ]
        decided = [sample for sample in samples if sample.pair["split"] == "test" and sample.pair["label"] != "tie"]
        drawn = sample_answers(MODELS["released"], decided, name="released", params=params)
        with publish(Path("data/evaluate")) as out:
            write(pl.concat(predictions for predictions, _ in told), out / "predictions.parquet", PREDICTION)
            write(pl.concat(heard for _, heard in told), out / "heard.parquet", HEARD)
            write(drawn, out / "sampled.parquet", SAMPLED)


if __name__ == "__main__":
    main()
