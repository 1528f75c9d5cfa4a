"""Cold start (SFT) of the reasoner and of the listener, each from its base model and apart from the other.

The reasoner's lessons hold true explanations, the last of them with answers drawn by lot: it learns to see and to talk, and
what people prefer is left to the votes. The listener's lessons hold true and corrupted explanations, so that it weighs
words against images: a listener that has heard only the truth believes everything, and a reasoner then learns to invent.
"""

import json
from pathlib import Path

from suasion.params import Listener, Supervised, Warmstart
from suasion.stage import checkpoint_folder
from suasion.training.log import write_log
from suasion.training.supervised import train_supervised
from suasion.vlm.load import load_model, load_processor, save


def train_warmstart(base: Path, out: Path, settings: Warmstart, *, seed: int) -> None:
    """Write `reasoner/` and `log.csv` to `out`. Without lessons (`none`) the base model is taken as it is."""
    from suasion.world.lessons import Explanations

    steps = settings.steps if settings.lessons == "world" else 0
    model, processor = load_model(base), load_processor(base)
    history = train_supervised(
        model.train(),
        processor,
        Explanations(
            steps * settings.batch_size, seed=seed, by_lot=min(steps, settings.lot_steps) * settings.batch_size
        ),
        _supervised(settings, steps),
        checkpoints=checkpoint_folder("warmstart", [settings.model_dump(), seed], [base]),
        seed=seed,
        label="learning to explain",
    )
    save(model, processor, out / "reasoner")
    write_log(history, out / "log.csv", {"loss": "loss"})


def train_listener(base: Path, out: Path, settings: Listener, *, seed: int) -> None:
    """Write `model/`, `log.csv` and `summary.json` (what explanations do to it, on the world) to `out`."""
    from suasion.listener.study import study
    from suasion.world.lessons import Verdicts

    steps = settings.steps if settings.lessons == "world" else 0
    model, processor = load_model(base), load_processor(base)
    lessons = Verdicts(
        steps * settings.batch_size,
        seed=seed,
        corrupted_share=settings.corrupted_share,
        no_explanation_share=settings.no_explanation_share,
    )
    history = train_supervised(
        model.train(),
        processor,
        lessons,
        _supervised(settings, steps),
        checkpoints=checkpoint_folder("listener", [settings.model_dump(), seed], [base]),
        seed=seed,
        label="learning to listen",
    )
    save(model, processor, out / "model")
    write_log(history, out / "log.csv", {"loss": "loss"})
    summary = study(model, processor, seed=seed) if settings.lessons == "world" else {}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def _supervised(settings: Supervised, steps: int) -> Supervised:
    return Supervised(
        steps=steps, batch_size=settings.batch_size, learning_rate=settings.learning_rate, lora=settings.lora
    )
