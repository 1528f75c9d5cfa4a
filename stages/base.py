"""Stage `base`: base models and processors, fetched by pinned revision, or the tiny ones built and taught to see."""

from pathlib import Path

from suasion.stage import publish, stage


def main() -> None:
    with stage("base") as params, publish(Path("data/base")) as out:
        from suasion.training.base import copy_base, make_base

        make_base(params.base.reasoner, out / "reasoner", seed=params.seed)
        if params.base.listener is None:
            copy_base(out / "reasoner", out / "listener")
        else:
            make_base(params.base.listener, out / "listener", seed=params.seed + 1)


if __name__ == "__main__":
    main()
