"""Pairs with drawn images, for tests of shards."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from suasion.images.check import check_image
from suasion.images.pack import ImagePack
from suasion.params import Shard
from suasion.records import PAIR
from suasion.world.scenes import draw, encode, random_scene

SETTINGS = Shard(samples_per_shard=3, bytes_per_shard=1_000_000, max_side=64, location=None)


def make_pairs(images: Path, *, seed: int = 0, **splits: int) -> pl.DataFrame:
    """So many pairs for each split, called pair-0000, ...; their images go to a pack at `images`."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    with ImagePack(images) as pack:
        for split, count in splits.items():
            for _ in range(count):
                hashes = []
                for _ in "ab":
                    content = encode(draw(random_scene(rng, groups=2), rng))
                    checked = check_image(content, max_pixels=10_000)
                    pack.add(content, checked)
                    hashes.append(checked.sha256)
                rows.append(pair(f"pair-{len(rows):04d}", *hashes, split=split))
    return pl.DataFrame(rows, schema=PAIR)


def pair(pair_id: str, image_a: str, image_b: str, **changes: Any) -> dict[str, Any]:
    """A row of `records.PAIR`."""
    texts = {"pair_id": pair_id, "prompt_id": "p", "prompt": 'a "cat" <b>ü</b>', "image_a": image_a, "image_b": image_b}
    votes = {"p_a": 0.75, "n_votes": 4, "votes_a": 3, "votes_b": 1, "votes_tie": 0, "agreement": 0.75, "tie_rate": 0.0}
    return (
        texts | votes | {"model_a": None, "model_b": None, "label": "a", "source": "test", "split": "train"} | changes
    )
