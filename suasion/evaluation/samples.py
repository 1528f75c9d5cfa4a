"""Which pairs are evaluated: of every held-out split the first by hash."""

import itertools
from pathlib import Path

from suasion.records import EVALUATED
from suasion.shards import ShardDataset
from suasion.shards.sample import Sample


def evaluated(shards: Path, max_pairs: int) -> list[Sample]:
    """Samples of the shards in `shards`, at most `max_pairs` of each split; decided pairs and ties."""
    return [sample for split in EVALUATED for sample in itertools.islice(ShardDataset(shards, split), max_pairs)]
