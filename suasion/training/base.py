"""Base models: fetched from the hub by commit, or a tiny one built here and taught to see by captioning.

A base model sees and talks; it knows nothing of pairs or preferences. Reasoner and listener start from one, and are then
trained apart, as two models of the same family are in production.
"""

import os
import shutil
from pathlib import Path

from suasion.errors import SuasionError
from suasion.params import HubModel, Supervised, TinyModel
from suasion.stage import checkpoint_folder


def make_base(model: TinyModel | HubModel, folder: Path, *, seed: int) -> None:
    """Write the base model and its processor to `folder`.

    Raises:
        SuasionError: the hub does not answer, or has no such repository or revision.
    """
    if isinstance(model, TinyModel):
        _make_tiny(model, folder, seed=seed)
    else:
        _fetch(model, folder)


def copy_base(source: Path, target: Path) -> None:
    """The same base under another name; hard links, so that a large one is there only once."""
    shutil.copytree(source, target, copy_function=os.link)


def _make_tiny(tiny: TinyModel, folder: Path, *, seed: int) -> None:
    from suasion.training.supervised import train_supervised
    from suasion.vlm.load import save
    from suasion.world.lessons import Captions, corpus
    from suasion.world.tiny import build_model, build_processor

    processor = build_processor(corpus(seed), image_size=tiny.image_size, vocab_size=tiny.vocab_size)
    model = build_model(
        processor,
        seed=seed,
        hidden=tiny.hidden,
        layers=tiny.layers,
        vision_hidden=tiny.vision_hidden,
        vision_depth=tiny.vision_depth,
    )
    settings = Supervised(steps=tiny.steps, batch_size=tiny.batch_size, learning_rate=tiny.learning_rate, lora=None)
    train_supervised(
        model,
        processor,
        Captions(tiny.steps * tiny.batch_size, seed=seed),
        settings,
        checkpoints=checkpoint_folder("base", [tiny.model_dump(), seed], []),
        seed=seed,
        label="learning to see",
    )
    save(model, processor, folder)


def _fetch(model: HubModel, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(
            model.repo,
            revision=model.revision,
            local_dir=folder,
            allow_patterns=["*.safetensors", "*.json", "*.txt", "*.jinja"],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SuasionError(
            f"{model.repo} at {model.revision} could not be fetched: {error}",
            where="params.yaml: base",
            do="check the repository, the revision and the network; a private one needs HF_TOKEN in the environment",
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    limit_pixels(folder, model.max_pixels)


def limit_pixels(folder: Path, max_pixels: int) -> None:
    """Have the processor in `folder` scale every image down to at most `max_pixels`, for whoever loads it."""
    from suasion.vlm.load import load_processor

    processor = load_processor(folder)
    processor.image_processor.size = {
        "shortest_edge": processor.image_processor.size["shortest_edge"],
        "longest_edge": max_pixels,
    }
    processor.save_pretrained(folder)
