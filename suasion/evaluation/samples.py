"""Which pairs are evaluated: of every held-out split the first by hash; and how a pair is shown."""

import itertools
from pathlib import Path

from PIL import Image

from suasion.records import EVALUATED
from suasion.shards import ShardDataset
from suasion.shards.sample import Sample


def evaluated(shards: Path, max_pairs: int) -> list[Sample]:
    """Samples of the shards in `shards`, at most `max_pairs` of each split; decided pairs and ties."""
    return [sample for split in EVALUATED for sample in itertools.islice(ShardDataset(shards, split), max_pairs)]


def in_order(sample: Sample, order: str) -> tuple[Image.Image, Image.Image]:
    """Its images as `order` (`ab` or `ba`) shows them."""
    a, b = sample.open_a(), sample.open_b()
    return (a, b) if order == "ab" else (b, a)
