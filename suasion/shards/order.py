"""Which samples a rank and a worker read, and in which order: arithmetic on counts, so nothing is read to know it.

Samples are numbered through all shards in the epoch's order of shards. A rank takes a range of the numbers, a worker a
range of the rank's; so every sample is taken once, whatever the counts are, and a range begins inside a shard where it must.
Since a buffer holds numbers and not samples, its size costs no memory, and a resumed pass finds its place by counting.
Given up: an even spread of every shard over all ranks.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Share(NamedTuple):
    """Worker `worker` of `workers` on rank `rank` of `ranks`; `even`: all ranks get equally many samples."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1
    even: bool = False

    def of(self, total: int) -> range:
        """The numbers that are this worker's, of `total`. Even ranks leave up to ranks - 1 numbers at the end out."""
        if self.even:
            total -= total % self.ranks
        return _part(_part(range(total), self.rank, self.ranks), self.worker, self.workers)


class Span(NamedTuple):
    """Samples `start` to `stop` (without it) of a shard, by its place in the manifest."""

    shard: int
    start: int
    stop: int


def spans(counts: Sequence[int], share: Share, seed: str | None) -> list[Span]:
    """What `share` reads of shards with `counts` samples, shard after shard; shuffled by `seed`, the same for all ranks."""
    order = list(range(len(counts)))
    if seed is not None:
        random.Random(f"shards {seed}").shuffle(order)
    numbers = share.of(sum(counts))
    found, first = [], 0
    for shard in order:
        start, stop = max(numbers.start - first, 0), min(numbers.stop - first, counts[shard])
        if start < stop:
            found.append(Span(shard, start, stop))
        first += counts[shard]
    return found


def in_order(read: Sequence[Span], share: Share, seed: str | None, buffer: int) -> Iterator[tuple[int, int]]:
    """(shard, sample in it) of all in `read`; with a seed, each drawn at random from the next `buffer` of them."""
    places = ((span.shard, number) for span in read for number in range(span.start, span.stop))
    if seed is None or buffer < 2:
        return places
    return _drawn(places, random.Random(f"samples {seed} {share.rank}/{share.ranks} {share.worker}"), buffer)


def _drawn(places: Iterator[tuple[int, int]], rng: random.Random, size: int) -> Iterator[tuple[int, int]]:
    held: list[tuple[int, int]] = []
    for place in places:
        if len(held) < size:
            held.append(place)
            continue
        at = int(rng.random() * size)
        yield held[at]
        held[at] = place
    rng.shuffle(held)
    yield from held


def _part(whole: range, number: int, parts: int) -> range:
    count = len(whole)
    return whole[count * number // parts : count * (number + 1) // parts]
