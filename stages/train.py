"""Stage `train`: GRPO with the listener's reward, and the SFT baseline of the same compute."""

from pathlib import Path

from suasion.stage import publish, stage


def main() -> None:
    with stage("train") as params, publish(Path("data/train")) as out:
        from suasion.training.run import run

        run(params, out)


if __name__ == "__main__":
    main()
