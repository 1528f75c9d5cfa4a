"""Every sample once, whatever the counts, ranks and workers are, and the same order again after a stop."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from suasion.shards.order import Share, in_order, spans

COUNTS = st.lists(st.integers(0, 12), max_size=8)
SEEDS = st.none() | st.text(max_size=5)


def read_by(counts: list[int], share: Share, seed: str | None, buffer: int) -> list[tuple[int, int]]:
    return list(in_order(spans(counts, share, seed), share, seed, buffer))


@given(COUNTS, st.integers(1, 5), st.integers(1, 4), SEEDS, st.integers(0, 30))
def test_ranks_and_workers_share_every_sample_once(
    counts: list[int], ranks: int, workers: int, seed: str | None, buffer: int
) -> None:
    shares = [Share(rank, ranks, worker, workers) for rank in range(ranks) for worker in range(workers)]
    found = Counter(place for share in shares for place in read_by(counts, share, seed, buffer))
    assert found == Counter((shard, number) for shard, count in enumerate(counts) for number in range(count))


@given(COUNTS, st.integers(1, 5), SEEDS)
def test_ranks_are_even_within_one_or_exactly(counts: list[int], ranks: int, seed: str | None) -> None:
    lengths = [len(read_by(counts, Share(rank, ranks), seed, 4)) for rank in range(ranks)]
    assert max(lengths) - min(lengths) <= 1
    even = [len(read_by(counts, Share(rank, ranks, even=True), seed, 4)) for rank in range(ranks)]
    assert {*even} == {sum(counts) // ranks}


def test_without_a_seed_samples_come_as_they_were_written() -> None:
    assert read_by([2, 0, 1], Share(), None, 10) == [(0, 0), (0, 1), (2, 0)]


def test_a_seed_mixes_shards_and_samples_and_another_one_mixes_otherwise() -> None:
    counts = [50] * 20
    first, again, other = (read_by(counts, Share(), seed, 200) for seed in ("0/0", "0/0", "0/1"))
    assert first == again != other
    assert len({shard for shard, _ in first[:100]}) > 2, "shards are mixed within the buffer"
    steps = sum(b == (a[0], a[1] + 1) for a, b in itertools.pairwise(first))
    assert steps < 50, "neighbours are torn apart"
    assert read_by(counts, Share(), "0/0", 0) != read_by(counts, Share(), None, 0), "shards are mixed without a buffer"
