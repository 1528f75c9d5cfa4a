import numpy as np
import pytest

from suasion.vlm.chat import ANSWER_PREFIX, parse_completion
from suasion.world.lessons import (
    LEAN,
    Captions,
    Explanations,
    Lesson,
    Verdicts,
    contrast,
    corrupt,
    explanation,
    is_exact,
)
from suasion.world.scenes import change_one, parse_prompt, parse_scene, split_of


def test_a_lesson_depends_on_seed_and_index_alone() -> None:
    long, short = Explanations(50, seed=3, by_lot=0), Explanations(10, seed=3, by_lot=0)
    assert long[7].reply == short[7].reply
    assert np.array_equal(np.asarray(long[7].images[0]), np.asarray(short[7].images[0]))
    assert long[7].reply != Explanations(50, seed=4, by_lot=0)[7].reply
    with pytest.raises(IndexError):
        short[10]


def test_lessons_show_training_scenes_alone() -> None:
    captions = [parse_scene(lesson.reply) for lesson in Captions(300, seed=0)]
    assert all(scene is not None and split_of(scene) == "train" for scene in captions)
    rng = np.random.default_rng(0)
    assert {split_of(scene) for _ in range(300) for scene in contrast(rng)[1]} == {"train"}


def test_the_last_answers_say_nothing_about_preference_and_the_first_say_who_fits() -> None:
    """By lot the answer agrees with the truth in half of the lessons and leans to the first image (4 sigma, n = 800)."""
    lessons = Explanations(900, seed=0, by_lot=800)
    right, first = [], []
    for index in range(900):
        parsed = parse_completion(lessons[index].reply)
        assert parsed is not None
        explained, answer = parsed
        right.append(explained.endswith(f"image {answer} fits."))
        first.append(answer == 1)
    assert all(right[:100])
    assert abs(np.mean(right[100:]) - 0.5) < 4 * 0.5 / 800**0.5
    assert abs(np.mean(first[100:]) - LEAN) < 4 * 0.5 / 800**0.5


def test_a_listener_hears_about_as_much_falsehood_as_asked_for() -> None:
    lessons = list(Verdicts(800, seed=0, corrupted_share=0.5, no_explanation_share=0.25))
    verdicts = [lesson for lesson in lessons if lesson.reply.startswith(ANSWER_PREFIX)]
    heard = [said for lesson in verdicts if (said := _explanation_in(lesson))]
    assert 0.15 < 1 - len(heard) / len(verdicts) < 0.35
    fits = sum(f"image {lesson.reply[len(ANSWER_PREFIX) + 1]} fits" in _explanation_in(lesson) for lesson in verdicts)
    # False explanations of the other image, and some with an attribute wrong, name the wrong image.
    assert 0.55 < fits / len(heard) < 0.85


def test_a_verdict_is_right_whatever_the_listener_is_told() -> None:
    for lesson in Verdicts(100, seed=1, corrupted_share=0.0, no_explanation_share=0.0):
        if said := _explanation_in(lesson):
            assert f"image {lesson.reply[len(ANSWER_PREFIX) + 1]} fits" in said


def _explanation_in(lesson: Lesson) -> str:
    return str(lesson.messages[0]["content"][-1]["text"].partition("Explanation:")[2])


@pytest.mark.parametrize("seed", range(40))
def test_a_corrupted_explanation_is_false_and_a_true_one_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt, scenes, answer = contrast(rng)
    shown = [str(scene) for scene in scenes]
    assert scenes[answer - 1] == prompt.asked
    assert scenes[2 - answer] == prompt.unasked
    assert is_exact(explanation(prompt, *scenes), str(prompt), *shown)
    assert not is_exact(corrupt(prompt, scenes, rng), str(prompt), *shown)
    assert is_exact(None, str(prompt), *shown) is False
    assert is_exact("anything", str(prompt), None, None) is None


@pytest.mark.parametrize("seed", range(20))
def test_an_attribute_wrong_is_not_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt, scenes, _ = contrast(rng)
    told = str(change_one(rng, prompt.asked, "colour"))
    said = explanation(prompt, *scenes).replace(f"shows {prompt.asked}.", f"shows {told}.")
    assert not is_exact(said, str(prompt), *map(str, scenes))


def test_an_explanation_marks_what_is_unwanted_and_says_who_fits() -> None:
    prompt = parse_prompt("two red not blue circles top left, one green square top right")
    assert prompt is not None
    assert explanation(prompt, prompt.unasked, prompt.asked) == (
        "image 1 shows two blue unwanted circles top left, one green square top right. "
        "image 2 shows two red circles top left, one green square top right. image 2 fits."
    )
    assert explanation(prompt, prompt.asked, prompt.asked).endswith("both images fit.")
