import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from suasion.training.base import copy_base, limit_pixels
from suasion.vlm.inputs import prompt_inputs, render
from suasion.vlm.load import load_processor, save


def test_a_limit_on_pixels_holds_for_whoever_loads_the_processor(
    tmp_path: Path, processor: Any, tiny_model: Callable[..., Any]
) -> None:
    save(tiny_model(), processor, tmp_path)
    # As the hub's Qwen2.5-VL has it: a file of its own for the image processor, in the older keys.
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 256, "max_pixels": 4096}))
    limit_pixels(tmp_path, 512)
    loaded = load_processor(tmp_path)
    messages = [{"role": "user", "content": [{"type": "image"}]}]
    images = [[Image.new("RGB", (400, 300))]]
    grid = prompt_inputs(loaded, [render(loaded, messages)], images, torch.device("cpu"))["image_grid_thw"]
    patch = loaded.image_processor.patch_size
    assert int(grid.prod()) * patch**2 <= 512


def test_a_copied_base_has_the_same_files(tmp_path: Path, processor: Any, tiny_model: Callable[..., Any]) -> None:
    save(tiny_model(), processor, tmp_path / "one")
    copy_base(tmp_path / "one", tmp_path / "two")
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()} == files
