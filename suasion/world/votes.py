"""The embedded world's votes: pairs of rendered scenes, judged by simulated voters whose reliability is known.

In a pair one image shows the prompt and the other differs in the one attribute that the prompt warns of; people prefer
the one that shows it. Most voters see that more or less reliably; some guess, some always choose the left image, all tie
now and then. Truth is a return value, so that filters and reliability estimates can be held against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from suasion.params import WorldSource
from suasion.votes.sources import RawVote
from suasion.world.scenes import Prompt, Scene, draw, encode, random_prompt, split_of, training_groups

SPLITS = ("train", "val", "test", "ood")
_START = datetime(2026, 1, 5, 9)
_SITTING = 40  # votes


class Voter(NamedTuple):
    """A simulated person. `accuracy` is the probability that a decided vote is for the better image."""

    annotator_id: str
    kind: str  # careful, careless (guesses) or left (always chooses the first image)
    accuracy: float
    tie_rate: float


@dataclass(frozen=True)
class Drawing:
    """A rendered scene, encoded when it is asked for; the name tells its pair, so the bytes follow from it."""

    name: str
    scene: Scene
    seed: tuple[int, ...]
    size: int

    def read(self) -> bytes:
        return encode(draw(self.scene, np.random.default_rng(self.seed), size=self.size))


class WorldPair(NamedTuple):
    """A pair and what is true of it; `better` is a, b, or tie where both images show the prompt."""

    pair_id: str
    split: str
    prompt: Prompt
    image_a: Drawing
    image_b: Drawing
    better: str


def make_voters(settings: WorldSource, seed: int) -> list[Voter]:
    """The voters of the world; the shares of careless and left ones are met exactly, rounded down."""
    rng = np.random.default_rng((seed, 100))
    careless = int(settings.voters * settings.careless_share)
    left = int(settings.voters * settings.left_share)
    kinds = ["careless"] * careless + ["left"] * left
    kinds += ["careful"] * (settings.voters - len(kinds))
    voters = []
    for number, place in enumerate(rng.permutation(settings.voters)):
        kind = kinds[place]
        accuracy = float(rng.uniform(0.7, 0.97)) if kind == "careful" else 0.5
        ties = settings.tie_share * float(rng.uniform(0.5, 1.5)) if kind != "left" else 0.0
        voters.append(Voter(f"voter-{number:03d}", kind, round(accuracy, 4), round(ties, 4)))
    return voters


def make_pairs(settings: WorldSource, seed: int) -> list[WorldPair]:
    """The pairs of all splits; no prompt, scene or image is in two splits.

    Train, val and test hold scenes of one or two groups without held-out combinations; out of distribution means three
    groups, or a held-out combination.
    """
    pairs = []
    for split, size in settings.pairs.items():
        rng = np.random.default_rng((seed, 101, SPLITS.index(split)))
        pairs += [_make_pair(settings, seed, split, number, rng) for number in range(size)]
    return sorted(pairs, key=lambda pair: pair.pair_id)


def _make_pair(settings: WorldSource, seed: int, split: str, number: int, rng: np.random.Generator) -> WorldPair:
    while True:
        if split == "ood" and number % 2:
            prompt = random_prompt(rng, groups=3)
        else:
            prompt = random_prompt(rng, groups=training_groups(rng), held_out=split == "ood")
        same = bool(rng.random() < settings.no_difference_share)
        shown = (prompt.asked, prompt.asked if same else prompt.unasked)
        if all(split_of(scene) == split for scene in shown):
            break
    swapped = bool(rng.random() < 0.5)
    scenes = shown[::-1] if swapped else shown
    pair_id = f"world-{split}-{number:06d}"
    drawings = [
        Drawing(f"{pair_id}.{side}", scene, (seed, 102, SPLITS.index(split), number, place), settings.image_size)
        for place, (side, scene) in enumerate(zip("ab", scenes, strict=True))
    ]
    return WorldPair(
        pair_id, split, prompt, drawings[0], drawings[1], better="tie" if same else "b" if swapped else "a"
    )


def cast_vote(voter: Voter, better: str, rng: np.random.Generator) -> str:
    """What `voter` says of a pair: a, b or tie. Where nothing is better, a decided vote is a coin's."""
    if voter.kind == "left":
        return "a"
    if rng.random() < (0.5 if better == "tie" else voter.tie_rate):
        return "tie"
    if better == "tie":
        return "a" if rng.random() < 0.5 else "b"
    right = rng.random() < voter.accuracy
    return better if right else {"a": "b", "b": "a"}[better]


def read_votes(settings: WorldSource, seed: int) -> Iterator[RawVote]:
    """Every vote of the world, pair by pair: `votes_per_pair` different voters, or all where there are fewer."""
    voters = make_voters(settings, seed)
    cast = [0] * len(voters)
    for pair in make_pairs(settings, seed):
        number = int(pair.pair_id.rpartition("-")[2])
        rng = np.random.default_rng((seed, 103, SPLITS.index(pair.split), number))
        chosen = rng.choice(len(voters), size=min(settings.votes_per_pair, len(voters)), replace=False)
        for place, index in enumerate(chosen):
            voter = voters[int(index)]
            yield RawVote(
                row=f"{pair.pair_id}#{place}",
                prompt=str(pair.prompt),
                image_a=pair.image_a,
                image_b=pair.image_b,
                choice=cast_vote(voter, pair.better, rng),
                pair_id=pair.pair_id,
                annotator_id=voter.annotator_id,
                voted_at=_time_of(voter, cast[int(index)], int(rng.integers(0, 30 * 24 * 3600))),
                source_split=pair.split,
            )
            cast[int(index)] += 1


def _time_of(voter: Voter, nth: int, noise: int) -> datetime:
    """When `voter` casts the `nth` vote: one sitting a day, about 12 seconds a vote, 4 where the voter does not look."""
    pace = 12.0 if voter.kind == "careful" else 4.0
    within = (nth % _SITTING + noise / (30 * 24 * 3600)) * pace
    return _START + timedelta(days=nth // _SITTING, seconds=round(within))
