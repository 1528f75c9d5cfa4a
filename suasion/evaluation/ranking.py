"""An order of n images from pairwise answers, without asking about all n (n - 1) / 2 pairs.

Merge sort: at most n ceil(log2 n) - 2^ceil(log2 n) + 1 questions (5 for 4 images, 49 for 16, 321 for 64), none of them twice.
Answers need not agree with each other; a wrong one moves images as far as the merge it falls in reaches. Given up: asking
several at a time, and asking again where it was close.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def rank(images: Sequence[T], compare: Callable[[T, T], float]) -> list[int]:
    """Places in `images`, the best one's first.

    `compare(first, second)` is the probability that the first is better, or 1, 0 and 0.5 where nothing is known but who wins;
    at a half the two stay as they are listed.
    """
    return _sorted(list(range(len(images))), images, compare)


def _sorted(places: list[int], images: Sequence[T], compare: Callable[[T, T], float]) -> list[int]:
    if len(places) < 2:
        return places
    middle = len(places) // 2
    left, right = _sorted(places[:middle], images, compare), _sorted(places[middle:], images, compare)
    merged: list[int] = []
    while left and right:
        first = compare(images[left[0]], images[right[0]]) >= 0.5
        merged.append((left if first else right).pop(0))
    return merged + left + right
