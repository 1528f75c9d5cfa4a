"""Fixtures that many tests share: a trained processor, very small models of the production architecture, and S3."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import pytest

from tests.s3 import Bucket, Server, bucket, running

hypothesis.settings.register_profile("suasion", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("suasion")


@pytest.fixture(scope="session")
def processor() -> Any:
    """A Qwen2.5-VL processor for 32-pixel images, its tokenizer trained on the world's language."""
    from suasion.world.lessons import corpus
    from suasion.world.tiny import build_processor

    return build_processor(corpus(0, lines=300), image_size=32, vocab_size=420)


@pytest.fixture
def tiny_model(processor: Any) -> Callable[..., Any]:
    """Builds a random Qwen2.5-VL with two layers of 64; the same seed gives the same weights."""
    from suasion.world.tiny import build_model

    def build(seed: int = 0) -> Any:
        return build_model(processor, seed=seed, hidden=64, layers=2, vision_hidden=32, vision_depth=2).eval()

    return build


@pytest.fixture
def talker(processor: Any, tiny_model: Callable[..., Any]) -> Any:
    """A random model, taught in a few steps to say something of the grammar, and still unsure which answer to give."""
    import numpy as np
    import torch

    from suasion.vlm.chat import reasoner_messages
    from suasion.vlm.inputs import render, training_inputs
    from suasion.world.scenes import draw, random_scene

    rng = np.random.default_rng(0)
    images = [tuple(draw(random_scene(rng, groups=1), rng, size=32) for _ in "ab") for _ in range(6)]
    texts = [render(processor, reasoner_messages(f"{word} star")) for word in ("one", "two not three", "three") * 2]
    replies = [f"<think> image 1 of 2 </think><answer> {1 + n % 2} </answer>" for n in range(6)]
    batch = training_inputs(processor, texts, replies, images)
    model = tiny_model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model(**batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS, one per pytest worker, started when the first test asks for it."""
    folder = tmp_path_factory.mktemp("s3")
    with running(folder) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture
def s3(
    s3_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bucket]:
    """A new bucket on a real S3 server, and the environment that leads every S3 client there, and nowhere else."""
    import fsspec

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # no credentials means none, at once
    empty = tmp_path_factory.mktemp("aws") / "config"
    empty.touch()  # dvc-s3 wants a file
    monkeypatch.setenv("AWS_CONFIG_FILE", str(empty))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(empty))
    fsspec.filesystem("s3").clear_instance_cache()
    with bucket(s3_server) as fresh:
        yield fresh
    fsspec.filesystem("s3").clear_instance_cache()
