"""Stage `warmstart`: the reasoner learns to explain in the completion's grammar (SFT), before any vote is seen."""

from pathlib import Path

from suasion.stage import publish, stage


def main() -> None:
    with stage("warmstart") as params, publish(Path("data/warmstart")) as out:
        from suasion.training.coldstart import train_warmstart

        train_warmstart(Path("data/base/reasoner"), out, params.warmstart, seed=params.seed)


if __name__ == "__main__":
    main()
