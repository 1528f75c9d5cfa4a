import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kendalltau

from suasion.errors import SuasionError
from suasion.evaluation.ranking import rank
from suasion.judge import Judge, Judgement

Compare = Callable[[float, float], float]


class Asked:
    """Counts what it is asked, and whether anything is asked twice."""

    def __init__(self, answer: Compare) -> None:
        self.answer, self.pairs = answer, list[frozenset[float]]()

    def __call__(self, first: float, second: float) -> float:
        self.pairs.append(frozenset((first, second)))
        return self.answer(first, second)


def most(n: int) -> int:
    """Questions of a merge sort."""
    levels = math.ceil(math.log2(n)) if n > 1 else 0
    return n * levels - 2**levels + 1


def tournament(images: list[float], compare: Compare) -> list[int]:
    """All pairs, by the sum of an image's probabilities."""
    points = np.zeros(len(images))
    for i, j in itertools.combinations(range(len(images)), 2):
        p = compare(images[i], images[j])
        points[[i, j]] += p, 1 - p
    return np.argsort(-points, kind="stable").tolist()  # type: ignore[no-any-return]


def exact(first: float, second: float) -> float:
    return 1.0 if first > second else 0.0 if first < second else 0.5


@given(st.lists(st.integers(0, 30), max_size=40))
def test_consistent_answers_give_the_order_of_the_full_tournament(values: list[float]) -> None:
    asked = Asked(exact)
    order = rank(values, asked)
    assert order == sorted(range(len(values)), key=lambda place: -values[place]) == tournament(values, exact)
    assert len(asked.pairs) <= most(len(values))


@given(st.permutations(range(24)), st.randoms(use_true_random=False))
def test_any_answers_give_an_order_and_nothing_is_asked_twice(values: list[int], random: object) -> None:
    asked = Asked(lambda first, second: random.random())  # type: ignore[attr-defined]
    assert sorted(rank(values, asked)) == list(range(24))
    assert len(set(asked.pairs)) == len(asked.pairs) <= most(24) < 24 * 23 / 2


@pytest.mark.parametrize(("n", "questions"), [(1, 0), (2, 1), (4, 5), (16, 49), (64, 321)])
def test_how_many_questions(n: int, questions: int) -> None:
    assert most(n) == questions
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        asked = Asked(exact)
        rank(rng.permutation(n).tolist(), asked)
        found.append(len(asked.pairs))
    assert max(found) <= questions


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_noisy_answers_come_near_the_full_tournament(scale: float) -> None:
    """Answers by Bradley and Terry on 16 images: the mean Kendall tau with the truth, for a third of the questions."""
    rng = np.random.default_rng(0)
    sorted_taus, full_taus, questions = [], [], []
    for _ in range(200):
        strength = rng.normal(0, scale, 16).tolist()
        answers: dict[tuple[float, float], float] = {}

        def noisy(first: float, second: float, answers: dict[tuple[float, float], float] = answers) -> float:
            if (first, second) not in answers:
                answers[first, second] = float(rng.random() < 1 / (1 + np.exp(second - first)))
                answers[second, first] = 1 - answers[first, second]
            return answers[first, second]

        asked = Asked(noisy)
        order, full = rank(strength, asked), tournament(strength, noisy)
        questions.append(len(asked.pairs))
        for taus, found in ((sorted_taus, order), (full_taus, full)):
            taus.append(kendalltau(np.argsort(found), np.argsort(np.argsort([-s for s in strength]))).statistic)
    assert np.mean(questions) < 0.42 * 120
    assert np.mean(sorted_taus) > np.mean(full_taus) - 0.2
    assert np.mean(sorted_taus) > (0.3 if scale == 1.0 else 0.65)


def test_a_judge_ranks_images_by_what_it_prefers() -> None:
    class Bright(Judge):
        """Prefers the brighter image; two that are nearly alike are no choice."""

        def __init__(self) -> None:
            pass

        def compare(self, prompt: str, image_a: Any, image_b: Any, *, both_orders: bool = False) -> Judgement:
            assert both_orders
            difference = image_a.getpixel((0, 0))[0] - image_b.getpixel((0, 0))[0]
            return Judgement(None if abs(difference) < 5 else "a" if difference > 0 else "b", None, "")

    greys = [Image.new("RGB", (4, 4), (level,) * 3) for level in (90, 200, 92, 10, 255)]
    assert Bright().rank("a light", greys) == [4, 1, 0, 2, 3]
    with pytest.raises(SuasionError, match="cannot read"):
        Bright().rank("a light", [*greys, "nowhere.png"])
