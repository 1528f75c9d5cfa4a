"""A folder that stock transformers loads: weights as safetensors, processor, generation config, chat template, model card.

Nothing in it has a time or a path, so the same training gives the same bytes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2

from suasion.errors import SuasionError
from suasion.params import Params

SAFE = {".safetensors", ".json", ".jinja", ".txt", ".model", ".md"}


def release(model: Path, out: Path, *, params: Params, metrics: dict[str, Any], data: dict[str, Any]) -> None:
    """Write the release of the reasoner in `model` to `out`.

    Raises:
        SuasionError: the folder holds a file of another kind than weights (safetensors), JSON and text, or no weights.
    """
    files = sorted(path for path in model.rglob("*") if path.is_file())
    unsafe = [path.name for path in files if path.suffix not in SAFE]
    if unsafe or not any(path.suffix == ".safetensors" for path in files):
        raise SuasionError(
            f"{', '.join(unsafe)} may run code when loaded" if unsafe else "no weights as safetensors",
            where=str(model),
            do="run the train stage again: dvc repro -f train",
        )
    out.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, out / path.relative_to(model))
    _check_loadable(out)
    (out / "README.md").write_text(model_card(params, metrics, data))


def model_card(params: Params, metrics: dict[str, Any], data: dict[str, Any]) -> str:
    """The model card as Markdown, with the metadata block of the Hugging Face hub."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("suasion.release"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
    )
    card = environment.get_template("card.md.jinja")
    sources = [getattr(source, "label", source.name) for source in params.ingest.sources]  # a table has a label
    return card.render(params=params, metrics=metrics, data=data, sources=sources, percent=percent) + "\n"


def percent(estimate: dict[str, Any]) -> str:
    """An estimate as `63.1% (60.2 to 66.0)`, or a dash where there is none."""
    if estimate["value"] is None:
        return "–"
    return f"{estimate['value']:.1%} ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"


def _check_loadable(folder: Path) -> None:
    """The weights in the folder are those that its configuration asks for, by name."""
    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    shapes: dict[str, list[int]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            shapes |= {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    stored = sum(torch.Size(shape).numel() for shape in shapes.values())
    wanted = sum({id(weight): weight.numel() for weight in model.parameters()}.values())
    tied = model.get_input_embeddings().weight.numel() if config.get_text_config().tie_word_embeddings else 0
    if stored not in (wanted, wanted - tied):
        raise SuasionError(
            f"the weights hold {stored} numbers where the configuration asks for {wanted}",
            where=str(folder),
            do="run the train stage again: dvc repro -f train",
        )


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
