import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from suasion.images.phash import BYTES
from suasion.votes.copies import clusters, shared_run


def brute(hashes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    limit = np.minimum(bits[:, None], bits[None])
    return np.asarray(connected_components((limit >= 0) & (apart <= limit), directed=False)[1])


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    return len({*zip(first, second, strict=True)}) == len({*first}) == len({*second})


def near(rng: np.random.Generator, size: int, spread: int) -> np.ndarray:
    """Hashes around a few centres, `spread` flipped bits away at most."""
    centres = rng.integers(0, 256, (4, BYTES), dtype=np.uint8)
    hashes = np.unpackbits(centres[rng.integers(0, 4, size)], axis=1)
    for row in hashes:
        row[rng.integers(0, 192, rng.integers(0, spread + 1))] ^= 1
    return np.packbits(hashes, axis=1)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(0, 40),
    st.integers(0, 14),
    st.lists(st.integers(-1, 12), min_size=1, max_size=3),
)
def test_the_clusters_are_those_of_comparing_all_with_all(seed: int, size: int, spread: int, kinds: list[int]) -> None:
    rng = np.random.default_rng(seed)
    hashes, bits = near(rng, size, spread), rng.choice(kinds, size)
    assert same_partition(clusters(hashes, bits), brute(hashes, bits))


def test_planted_copies_are_all_found_among_many_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (20_000, BYTES), dtype=np.uint8)
    copies = np.unpackbits(hashes[:1000], axis=1)
    for row in copies:
        row[rng.choice(192, 8, replace=False)] ^= 1
    found = clusters(np.concatenate([hashes, np.packbits(copies, axis=1)]), np.full(21_000, 8))
    assert len({*found}) == 20_000
    assert (found[:1000] == found[20_000:]).all()


def test_grey_pictures_that_share_all_colour_bits_do_not_take_forever() -> None:
    hashes = np.zeros((30_000, BYTES), dtype=np.uint8)
    hashes[:, :8] = np.random.default_rng(0).integers(0, 256, (30_000, 8), dtype=np.uint8)
    assert len({*clusters(hashes, np.full(30_000, 4))}) == pytest.approx(30_000, abs=30)


def test_a_shared_run_of_words_is_found_whatever_the_case_and_punctuation() -> None:
    prompts = pl.Series(
        ["A cat, sitting on THE red mat!", "a cat sitting", "one two", "Two one", "", "a dog on the mat"]
    )
    held_out = pl.Series(["why is a cat sitting on the red mat", "one two"])
    assert shared_run(prompts, held_out, words=5).tolist() == [True, False, True, False, False, False]
    assert shared_run(prompts, pl.Series([], dtype=pl.String), words=5).sum() == 0


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=6),
    st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=4),
    st.integers(1, 4),
)
def test_runs_are_those_of_the_definition(prompts: list[list[str]], held_out: list[list[str]], words: int) -> None:
    def runs(text: list[str]) -> set[tuple[str, ...]]:
        if len(text) < words:
            return {tuple(text)} if text else set()
        return {tuple(text[at : at + words]) for at in range(len(text) - words + 1)}

    known = {run for text in held_out for run in runs(text)}
    wanted = [bool(runs(text) & known) for text in prompts]
    as_series = [pl.Series([" ".join(text) for text in texts], dtype=pl.String) for texts in (prompts, held_out)]
    assert shared_run(*as_series, words=words).tolist() == wanted
