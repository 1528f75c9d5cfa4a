import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suasion import Judge
from suasion.errors import SuasionError
from suasion.params import ROOT, load_params
from suasion.release.pack import model_card, release
from suasion.vlm.load import save
from suasion.world.scenes import draw, encode, random_scene

DATA = {
    "votes_in": 9,
    "votes_kept": 8,
    "pairs_in": 5,
    "pairs_kept": 4,
    "splits": {"train": 3},
    "voters": 2,
    "voters_flagged": 1,
}
NOTHING = {"value": None, "low": None, "high": None, "n": 0}
ROW = dict.fromkeys(("accuracy", "contradiction", "fidelity"), NOTHING)
METRICS = {
    "warmstart": dict.fromkeys(("val", "test", "ood"), ROW),
    "released": {
        "val": ROW,
        "ood": ROW,
        "test": ROW | {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.625, "n": 12}},
    },
}

STOCK = """
import sys
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
try:
    import suasion
except ImportError:
    pass
else:
    raise SystemExit("suasion is importable here, so this shows nothing")
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
processor = AutoProcessor.from_pretrained(sys.argv[1])
content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Prompt: x"}]
text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
inputs = processor(text=[text], images=[[Image.new("RGB", (32, 32))] * 2], return_tensors="pt")
print(model.generate(**inputs, max_new_tokens=3).shape[0])
"""


@pytest.fixture
def trained(tmp_path: Path, processor: Any, tiny_model: Callable[..., Any]) -> Path:
    save(tiny_model(), processor, tmp_path / "trained")
    return tmp_path / "trained"


@pytest.fixture
def released(tmp_path: Path, trained: Path) -> Path:
    params = load_params(ROOT / "profiles" / "world.yaml")
    release(trained, tmp_path / "release", params=params, metrics=METRICS, data=DATA)
    return tmp_path / "release"


def test_stock_transformers_loads_it_where_suasion_is_not_importable(released: Path, tmp_path: Path) -> None:
    """An environment of its own that sees the installed packages, but not this project."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    aside = tmp_path / "packages"
    aside.mkdir()
    for entry in Path(packages).iterdir():
        if "suasion" not in entry.name and not entry.name.endswith(".pth"):
            (aside / entry.name).symlink_to(entry)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(aside), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-S", "-c", STOCK, str(released)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]


def test_the_card_says_the_numbers_and_no_path(released: Path, trained: Path) -> None:
    card = (released / "README.md").read_text()
    assert "| released | test | 12 | 50.0% (40.0 to 62.5) | – | – |" in card
    assert str(trained.parent) not in card


def test_the_card_names_every_source() -> None:
    world = load_params(ROOT / "profiles" / "world.yaml")
    own = load_params(ROOT / "profiles" / "qwen2.5-vl-7b.yaml").ingest.sources
    both = world.ingest.model_copy(update={"sources": [*world.ingest.sources, *own]})
    assert "Votes from `world`: 9 votes" in model_card(world, METRICS, DATA)
    assert "small example of the method" in model_card(world, METRICS, DATA)
    card = model_card(world.model_copy(update={"ingest": both}), METRICS, DATA)
    assert "Votes from `world`, `mine`: 9 votes" in card
    assert "small example of the method" not in card, "true of the world alone"


def test_the_same_training_gives_the_same_bytes(released: Path, trained: Path, tmp_path: Path) -> None:
    params = load_params(ROOT / "profiles" / "world.yaml")
    release(trained, tmp_path / "again", params=params, metrics=METRICS, data=DATA)
    for path in released.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", ["weights.bin", "model.pkl", "code.py", "checkpoint.pth"])
def test_what_may_run_code_is_refused(trained: Path, tmp_path: Path, name: str) -> None:
    (trained / name).write_bytes(b"x")
    params = load_params(ROOT / "profiles" / "world.yaml")
    with pytest.raises(SuasionError, match=name):
        release(trained, tmp_path / "release", params=params, metrics=METRICS, data=DATA)


def test_weights_of_another_size_are_refused(trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] += 1
    config["text_config"]["layer_types"] = ["full_attention"] * config["text_config"]["num_hidden_layers"]
    (trained / "config.json").write_text(json.dumps(config))
    params = load_params(ROOT / "profiles" / "world.yaml")
    with pytest.raises(SuasionError, match="where the configuration asks for"):
        release(trained, tmp_path / "release", params=params, metrics=METRICS, data=DATA)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    import numpy as np

    rng = np.random.default_rng(0)
    paths = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for path in paths:
        path.write_bytes(encode(draw(random_scene(rng, groups=1), rng)))
    return paths


def test_the_judge_answers_or_says_that_it_does_not(released: Path, images: tuple[Path, Path]) -> None:
    found = Judge(released).compare("one red circle top left", *images, both_orders=True)
    assert found.choice in ("a", "b", None)
    assert isinstance(found.completion, str)


@pytest.mark.parametrize(
    ("prompt", "content", "message"),
    [
        (" ", None, "the prompt is empty"),
        ("x", b"no image", "a.jpg cannot be used"),
        ("x", "gone", "cannot read a.jpg"),
    ],
)
def test_bad_input_of_the_judge_is_one_clear_error(
    released: Path, images: tuple[Path, Path], prompt: str, content: bytes | str | None, message: str
) -> None:
    if content == "gone":
        images[0].unlink()
    elif isinstance(content, bytes):
        images[0].write_bytes(content)
    with pytest.raises(SuasionError, match=message):
        Judge(released).compare(prompt, *images)


def test_a_folder_that_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match="no model folder"):
        Judge(tmp_path / "nowhere")
    with pytest.raises(SuasionError, match=r"no \*\.safetensors"):
        Judge(tmp_path)
