from pathlib import Path

import polars as pl
import pytest

from suasion.images.pack import PackedImages
from suasion.shards.writer import write_shards
from tests.shards.pairs import SETTINGS, make_pairs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder of a pack with the images of `pairs`."""
    return tmp_path / "images"


@pytest.fixture
def pairs(images: Path) -> pl.DataFrame:
    """Seven training pairs and two test pairs."""
    return make_pairs(images, train=7, test=2)


@pytest.fixture
def shards(tmp_path: Path, pairs: pl.DataFrame, images: Path) -> Path:
    """`pairs` in shards of three."""
    scenes = {pairs["image_a"][0]: "one red circle top left"}
    write_shards(pairs, PackedImages(images), scenes, SETTINGS, tmp_path / "shards")
    return tmp_path / "shards"
