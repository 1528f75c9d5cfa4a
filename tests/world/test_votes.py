import numpy as np

from suasion.params import WorldSource
from suasion.world.scenes import Scene
from suasion.world.votes import SPLITS, cast_vote, make_pairs, make_voters

SETTINGS = WorldSource(
    name="world",
    pairs={"train": 300, "val": 40, "test": 40, "ood": 40},
    voters=40,
    votes_per_pair=5,
    careless_share=0.1,
    left_share=0.05,
    tie_share=0.1,
    no_difference_share=0.1,
    image_size=64,
)


def test_no_scene_is_in_two_splits() -> None:
    scenes: dict[str, set[Scene]] = {split: set() for split in SPLITS}
    for pair in make_pairs(SETTINGS, 0):
        scenes[pair.split] |= {pair.image_a.scene, pair.image_b.scene}
    for split in SPLITS:
        assert not scenes[split] & set().union(*(scenes[other] for other in SPLITS if other != split))


def test_the_splits_have_the_same_mix_of_scenes() -> None:
    """Else training and test would be about different things; a third of the scenes has two groups (4 sigma)."""
    settings = SETTINGS.model_copy(update={"pairs": {"train": 600, "val": 300, "test": 300, "ood": 0}})
    for split in ("train", "val", "test"):
        groups = [len(pair.prompt.asked.groups) for pair in make_pairs(settings, 0) if pair.split == split]
        assert abs(np.mean([count == 1 for count in groups]) - 2 / 3) < 4 * (2 / 9 / len(groups)) ** 0.5, split


def test_one_image_shows_the_prompt_and_the_other_differs() -> None:
    for pair in make_pairs(SETTINGS, 1):
        shows = [drawing.scene == pair.prompt.asked for drawing in (pair.image_a, pair.image_b)]
        assert shows == {"a": [True, False], "b": [False, True], "tie": [True, True]}[pair.better]


def test_out_of_distribution_means_held_out_or_more_groups() -> None:
    for pair in make_pairs(SETTINGS, 2):
        unusual = pair.prompt.asked.held_out or len(pair.prompt.asked.groups) == 3
        assert unusual == (pair.split == "ood")


def test_more_training_pairs_leave_the_other_splits_alone() -> None:
    more = SETTINGS.model_copy(update={"pairs": SETTINGS.pairs | {"train": 400}})
    few, many = ({p.pair_id: p for p in make_pairs(s, 3) if p.split != "train"} for s in (SETTINGS, more))
    assert few == many


def test_voters_vote_as_reliably_as_they_are_said_to() -> None:
    rng = np.random.default_rng(0)
    for voter in make_voters(SETTINGS, 0):
        votes = [cast_vote(voter, "b", rng) for _ in range(2000)]
        decided = [choice for choice in votes if choice != "tie"]
        if voter.kind == "left":
            assert set(votes) == {"a"}
            continue
        assert abs(np.mean([choice == "b" for choice in decided]) - voter.accuracy) < 0.05
        assert abs(votes.count("tie") / 2000 - voter.tie_rate) < 0.04
