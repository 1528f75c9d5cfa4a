"""Stage `release`: the trained reasoner as a folder that stock transformers loads, with its model card."""

from pathlib import Path

from suasion.stage import publish, stage


def main() -> None:
    with stage("release") as params, publish(Path("release")) as out:
        from suasion.release.pack import read_json, release

        release(
            Path("data/train/reasoner"),
            out,
            params=params,
            metrics=read_json(Path("metrics.json")),
            data=read_json(Path("data/filter/summary.json")),
        )


if __name__ == "__main__":
    main()
