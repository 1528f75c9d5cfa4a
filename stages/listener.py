"""Stage `listener`: prepare the frozen listener and measure how far explanations move it."""

from pathlib import Path

from suasion.stage import publish, stage


def main() -> None:
    with stage("listener") as params, publish(Path("data/listener")) as out:
        from suasion.training.coldstart import train_listener

        train_listener(Path("data/base/listener"), out, params.listener, seed=params.seed)


if __name__ == "__main__":
    main()
