"""From samples to what a reasoner is shown in training: order of presentation, label as shown, the listener's prior.

The order is drawn per pair by a seeded hash: a policy that always answers "1" must not look like a model.
"""

import io
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from PIL import Image

from suasion.shards.sample import Sample
from suasion.votes.pairs import shown_swapped


class Row(NamedTuple):
    """A training pair as it is shown: images in their order of presentation, `label` 1, 2 or 0 (tie)."""

    pair_id: str
    prompt: str
    first: bytes
    second: bytes
    label: int
    prior: float  # the listener's probability of the label without any explanation; 0.5 on a tie

    def images(self) -> tuple[Image.Image, Image.Image]:
        """Both images, RGB, in the order in which they are shown."""
        return _open(self.first), _open(self.second)


def make_rows(samples: Iterable[Sample], p_a_prior: Mapping[str, float], *, seed: int) -> list[Row]:
    """One row per sample, in the samples' order. `p_a_prior` holds the listener's prior of A for every pair.

    Raises:
        SuasionError: an image is too large to be decoded, or not what its name says.
    """
    rows = []
    for sample in samples:
        sample.check()  # the trainer decodes what it is given
        pair_id, label = sample.pair["pair_id"], sample.pair["label"]
        prior = {"a": p_a_prior[pair_id], "b": 1 - p_a_prior[pair_id], "tie": 0.5}[label]
        swapped = shown_swapped(pair_id, seed)
        images = (sample.image_b, sample.image_a) if swapped else (sample.image_a, sample.image_b)
        shown = 0 if label == "tie" else 1 + ((label == "b") != swapped)
        rows.append(Row(pair_id, sample.pair["prompt"], *images, shown, prior))
    return rows


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")
