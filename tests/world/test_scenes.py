import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from suasion.world.scenes import (
    ATTRIBUTES,
    Scene,
    change_one,
    draw,
    encode,
    parse_prompt,
    parse_scene,
    random_prompt,
    random_scene,
)

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 3), st.booleans())
def test_words_say_all_of_a_scene(seed: int, groups: int, held_out: bool) -> None:
    scene = random_scene(np.random.default_rng(seed), groups=groups, held_out=held_out)
    assert parse_scene(str(scene)) == scene
    assert scene.held_out == held_out
    assert len(scene.groups) == groups


@given(seeds, st.sampled_from(sorted(ATTRIBUTES)), st.integers(1, 3))
def test_one_attribute_of_one_group_changes(seed: int, attribute: str, groups: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, groups=groups)
    changed = change_one(rng, scene, attribute)
    pairs = list(zip(scene.groups, changed.groups, strict=True))
    differing = [(before, after) for before, after in pairs if before != after]
    assert len(differing) == 1
    before, after = differing[0]
    assert [name for name in ATTRIBUTES if getattr(before, name) != getattr(after, name)] == [attribute]
    assert not changed.held_out
    assert parse_scene(str(changed)) == changed, "no two groups in one place"


@given(seeds, st.integers(1, 3), st.booleans())
def test_words_say_all_of_a_prompt(seed: int, groups: int, held_out: bool) -> None:
    prompt = random_prompt(np.random.default_rng(seed), groups=groups, held_out=held_out)
    assert parse_prompt(str(prompt)) == prompt
    wanted, unwanted = prompt.values
    assert wanted in str(prompt.asked)
    assert f"not {unwanted}" in str(prompt)


def test_no_prompt_in_other_words() -> None:
    for text in (
        "one red circle top left",
        "one red not red circle top left",
        "one not two red not blue circles top left",
        "one red circle not large top left",
    ):
        assert parse_prompt(text) is None


def test_order_of_groups_does_not_matter_to_what_a_scene_is() -> None:
    scene = parse_scene("one red circle top left, two blue circles bottom right")
    assert scene is not None
    assert Scene(scene.groups[::-1]) == scene
    assert str(Scene(scene.groups[::-1]).in_reading_order()) == str(scene)


def test_no_scene_in_other_words() -> None:
    for text in (
        "",
        "a red circle",
        "one red circles top left",
        "one red circle top left,",
        "one red circle top left " * 2,
    ):
        assert parse_scene(text) is None
    assert parse_scene("one red circle top left, one blue circle top left") is None, "one place, two groups"


def test_the_same_seed_draws_the_same_bytes_and_another_does_not() -> None:
    scene = random_scene(np.random.default_rng(1), groups=2)
    first, again, other = (encode(draw(scene, np.random.default_rng(seed))) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_a_colour_lands_in_its_quarter() -> None:
    scene = parse_scene("three red squares bottom right")
    assert scene is not None
    pixels = np.asarray(draw(scene, np.random.default_rng(0))).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 100)
    assert red[32:, 32:].sum() > 50
    assert red.sum() == red[32:, 32:].sum()
