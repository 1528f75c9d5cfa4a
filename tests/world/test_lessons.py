import numpy as np
import pytest

from suasion.vlm.chat import parse_completion
from suasion.world.lessons import Captions, Explanations, Verdicts, contrast, corrupt, explanation, is_exact
from suasion.world.scenes import change_one, parse_scene, random_scene


def test_a_lesson_depends_on_seed_and_index_alone() -> None:
    long, short = Explanations(50, seed=3), Explanations(10, seed=3)
    assert long[7].reply == short[7].reply
    assert np.array_equal(np.asarray(long[7].images[0]), np.asarray(short[7].images[0]))
    assert long[7].reply != Explanations(50, seed=4)[7].reply
    with pytest.raises(IndexError):
        short[10]


def test_no_lesson_shows_a_held_out_combination() -> None:
    captions = [parse_scene(lesson.reply) for lesson in Captions(300, seed=0)]
    assert all(scene is not None and not scene.held_out for scene in captions)


def test_answers_of_the_cold_start_say_nothing_about_preference() -> None:
    """The answer is drawn by lot: it agrees with the truth in half of the lessons, up to chance (4 sigma at n = 800)."""
    right = []
    for lesson in Explanations(800, seed=0):
        parsed = parse_completion(lesson.reply)
        assert parsed is not None
        explained, answer = parsed
        right.append(answer == (1 if "not" in explained.partition("image 2")[2] else 2))
    assert abs(np.mean(right) - 0.5) < 4 * 0.5 / 800**0.5


def test_a_listener_hears_about_as_much_falsehood_as_asked_for() -> None:
    lessons = Verdicts(400, seed=0, corrupted_share=0.0, no_explanation_share=0.25)
    silent = sum("Explanation:" not in lesson.messages[0]["content"][-1]["text"] for lesson in lessons)
    assert 60 < silent < 140


@pytest.mark.parametrize("seed", range(40))
def test_a_corrupted_explanation_is_false_and_a_true_one_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt, scenes, answer = contrast(rng)
    shown = [str(scene) for scene in scenes]
    assert scenes[answer - 1] == prompt
    assert is_exact(explanation(prompt, *scenes), str(prompt), *shown)
    assert not is_exact(corrupt(prompt, scenes, rng), str(prompt), *shown)
    assert is_exact(None, str(prompt), *shown) is False
    assert is_exact("anything", str(prompt), None, None) is None


def test_an_attribute_wrong_is_not_exact() -> None:
    rng = np.random.default_rng(0)
    prompt = random_scene(rng, groups=2)
    other = change_one(rng, prompt, "colour")
    said = explanation(prompt, prompt, change_one(rng, other, "count"))
    assert not is_exact(said, str(prompt), str(prompt), str(other))
