"""Facts of a pair that follow from its id alone."""

import hashlib


def shown_swapped(pair_id: str, seed: int) -> bool:
    """Whether image B is shown first in training: a fair coin for every pair, the same for the same `seed`."""
    return bool(hashlib.sha256(f"{seed}:{pair_id}".encode()).digest()[0] & 1)
