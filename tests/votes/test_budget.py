import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from suasion.errors import SuasionError
from suasion.shards.jpeg import as_jpeg
from suasion.vlm.chat import reasoner_messages
from suasion.vlm.inputs import prompt_inputs, render
from suasion.votes.budget import image_tokens, over_budget

SIDES = st.integers(4, 240)


def counted(processor: Any, prompt: str, sizes: list[tuple[int, int]], max_side: int) -> int:
    """Tokens by the processor itself, of images as shards hold them."""
    images = []
    for size in sizes:
        buffer = io.BytesIO()
        Image.new("RGB", size).save(buffer, "PNG")
        images.append(Image.open(io.BytesIO(as_jpeg(buffer.getvalue(), max_side, fits=False))))
    text = render(processor, reasoner_messages(prompt))
    return int(prompt_inputs(processor, [text], [images], torch.device("cpu"))["input_ids"].shape[1])


@pytest.fixture(scope="session")
def folder(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("processor")
    processor.save_pretrained(path)
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=60) | st.sampled_from(["a red circle", "<|image_pad|> x", "日本の猫", "ﬃ ﷺ"]),
    st.lists(st.tuples(SIDES, SIDES), min_size=2, max_size=2),
    st.sampled_from([32, 64, 200]),
)
def test_the_count_is_the_processors(
    processor: Any, folder: Path, prompt: str, sizes: list[tuple[int, int]], max_side: int
) -> None:
    wide, high = (np.array(side) for side in zip(*sizes, strict=True))
    images = image_tokens(wide, high, folder, max_side=max_side).sum(keepdims=True)
    wanted = counted(processor, prompt, sizes, max_side)
    for limit in (1, wanted - 1, wanted):
        over, tokens = over_budget(pl.Series([prompt]), images, folder, limit=limit)
        assert over[0] == (wanted > limit)
        assert tokens[0] in ({wanted} if over[0] else {wanted, -1})


def test_a_damaged_processor_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SuasionError, match="the processor does not load"):
        over_budget(pl.Series(["x"]), np.array([1]), tmp_path, limit=1)
    with pytest.raises(SuasionError, match="no settings of an image processor"):
        image_tokens(np.array([8]), np.array([8]), tmp_path, max_side=8)
