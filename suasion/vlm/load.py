"""Load a reasoner or a listener from a folder: safetensors only, no code from the folder, one clear error.

Production and tiny models take the same road: `AutoModelForImageTextToText` and `AutoProcessor` of transformers.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from suasion.errors import SuasionError


def load_model(folder: Path | str, *, bf16: bool = False) -> Any:
    """The model in `folder`, in float32 (or bfloat16), in evaluation mode.

    Raises:
        SuasionError: no such folder, no safetensors in it, or its files are damaged.
    """
    folder = _folder(folder)
    if not list(folder.glob("*.safetensors")):
        raise SuasionError(
            f"no *.safetensors in {folder.name}",
            where=str(folder),
            do="point to a released folder; other formats are refused",
        )
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as error:  # whatever a damaged file raises, from three libraries down
        raise SuasionError(
            f"the model does not load: {error}", where=str(folder), do="fetch or train it again"
        ) from error
    return model.eval()


def outline(folder: Path | str) -> Any:
    """The model in `folder` without its weights: shapes alone, on the device `meta`, and no memory.

    Raises:
        SuasionError: no such folder.
    """
    config = AutoConfig.from_pretrained(_folder(folder), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config, trust_remote_code=False)


def load_processor(folder: Path | str) -> Any:
    """The processor in `folder` (tokenizer, image processor, chat template).

    Raises:
        SuasionError: no such folder, or its files are missing or damaged.
    """
    folder = _folder(folder)
    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise SuasionError(
            f"the processor does not load: {error}", where=str(folder), do="fetch or train it again"
        ) from error


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write `model` and `processor` to `folder` as transformers reads them, weights as safetensors."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def device_of(model: Any) -> torch.device:
    """Where the model's parameters are."""
    device: torch.device = next(model.parameters()).device
    return device


def _folder(folder: Path | str) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise SuasionError(
            f"no model folder {folder}", where=str(folder.absolute()), do="make repro builds one in release/"
        )
    return folder
