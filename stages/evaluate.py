"""Stage `evaluate`: what the models say on held-out pairs, metrics with intervals, and the report."""

import itertools
import json
from pathlib import Path

import polars as pl

from suasion.evaluation.metrics import EVALUATED, measure
from suasion.evaluation.references import references
from suasion.evaluation.ties import measure_ties
from suasion.records import PAIR, PREDICTION, VOTE, read, write
from suasion.stage import publish, stage

MODELS = {
    "warmstart": Path("data/warmstart/reasoner"),
    "released": Path("data/train/reasoner"),
    "sft": Path("data/train/sft"),
}


def main() -> None:
    with stage("evaluate") as params:
        from suasion.evaluation.predict import predict
        from suasion.evaluation.report import build_report
        from suasion.shards import ShardDataset

        settings = params.evaluate
        shards = [ShardDataset("data/shards", split) for split in EVALUATED]
        samples = [sample for some in shards for sample in itertools.islice(some, settings.max_pairs)]
        models = {name: folder for name, folder in MODELS.items() if folder.is_dir()}
        predictions = pl.concat(
            predict(folder, Path("data/listener/model"), samples, name=name, params=params)
            for name, folder in models.items()
        )
        metrics = measure(predictions, resamples=settings.resamples, seed=params.seed)
        for name in models:
            of_model = predictions.filter(pl.col("model") == name)
            metrics[name]["ties"] = measure_ties(of_model, resamples=settings.resamples, seed=params.seed)
        pairs = read(Path("data/filter/pairs.parquet"), PAIR)
        votes = read(Path("data/ingest/votes.parquet"), VOTE)
        metrics["references"] = references(pairs, votes, resamples=settings.resamples, seed=params.seed)
        with publish(Path("data/evaluate")) as out:
            write(predictions, out / "predictions.parquet", PREDICTION)
        with publish(Path("metrics.json")) as out:
            out.write_text(json.dumps(metrics, indent=2) + "\n")
        with publish(Path("report")) as out:
            build_report(out, params=params, predictions=predictions, metrics=metrics, samples=samples)


if __name__ == "__main__":
    main()
