"""`ShardDataset`: samples of shards as a torch data set; nothing is believed that the manifest does not vouch for.

A shard is opened whole before its first sample is given out: size and sha256 are held against the manifest, every header is
walked over a memory map. The next shards are opened meanwhile. Samples are slices of the map; at most the open shards are
held, however many there are. Given up: shards that change while they are read (a file cut short under a memory map ends the
process; publishing by rename, as the writer and DVC do, does not do that), and an unfinished pass of a plain `DataLoader`
with worker processes, whose state only torchdata's `StatefulDataLoader` knows.
"""

import copy
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from torch.utils.data import IterableDataset, get_worker_info

from suasion import storage
from suasion.errors import SuasionError
from suasion.records import SPLITS
from suasion.shards.cache import CACHE_BYTES, cache_folder, open_cached
from suasion.shards.manifest import LOCATION, MANIFEST, MAX_BYTES, URL, damaged, load
from suasion.shards.order import Share, Span, in_order, spans
from suasion.shards.sample import Sample
from suasion.shards.shard import OpenShard, open_file
from suasion.shards.tar import Place

REMEMBERED = 50_000
"""Samples whose place is known in the next pass, so that a file that is still the same need not be walked; 20 MB."""

AHEAD = 2
"""Shards that are opened (fetched, hashed, walked) while earlier ones are read, each by a thread."""

Verify = Literal["once", "always", "never"]


class ShardDataset(IterableDataset[Sample]):
    """The samples of `splits` in the shards at `place`, a folder or an `s3://` prefix with a `manifest.json`.

    Args:
        place: folder or URL; a folder whose shards are kept elsewhere says so in its `location.txt`.
        splits: one of `records.SPLITS`, or several.
        verify: hold each shard's sha256 against the manifest `once`, whenever it is opened (`always`), or `never`. Size,
            structure and number of samples are always checked.
        shuffle_buffer: None for the manifest's order; else shards are shuffled, and each sample is drawn from the next so
            many (at most), by `seed` and epoch.
        seed: of the shuffle.
        rank, world_size: of the processes that share the samples; workers of a `DataLoader` share those of their rank.
            Every sample is read once, so the ranks' counts may differ by one.
        even: leave up to `world_size` - 1 samples out, so that all ranks have equally many and none waits for another.
        cache, cache_bytes: where copies of remote shards are kept, and how many bytes of them at most.

    Raises:
        SuasionError: no manifest, an unknown split or rank. While reading: a shard that is missing or not what the manifest
            says, with what was found and at which byte.
    """

    def __init__(
        self,
        place: str | Path,
        splits: str | Sequence[str],
        *,
        verify: Verify = "once",
        shuffle_buffer: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        even: bool = False,
        cache: Path | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        splits = [splits] if isinstance(splits, str) else [*splits]
        for name in splits:
            if name not in SPLITS:
                raise SuasionError(f"no split {name!r}", where=str(place), do=f"choose of {', '.join(SPLITS)}")
        if not 0 <= rank < world_size:
            raise SuasionError(f"rank {rank} of {world_size}", where=str(place), do="ranks go from 0 to world_size - 1")
        if verify not in ("once", "always", "never"):
            raise SuasionError(f"verify = {verify!r}", where=str(place), do="choose of once, always, never")
        content, self.place = _manifest_at(place)
        self.shards = [shard for name in splits for shard in load(content, str(place)) if shard.split == name]
        self.verify, self.shuffle_buffer, self.seed, self.epoch = verify, shuffle_buffer, seed, 0
        self.cache, self.cache_bytes = cache or cache_folder(), cache_bytes
        self._share = Share(rank, world_size, even=even)
        self._verified: set[str] = set()
        self._walked: dict[str, tuple[tuple[int, ...], list[Place]]] = {}
        self._data = hashlib.sha256(content + repr(splits).encode()).hexdigest()
        self._seen, self._resumed = 0, False
        self._of_share: list[Any] | None = None  # whose place in the samples a loaded state is

    def __len__(self) -> int:
        """Samples of this rank."""
        return len(self._share.of(sum(shard.samples for shard in self.shards)))

    def only(self, name: str) -> "ShardDataset":
        """The samples of the shard `name` alone; what was verified here is not verified again there."""
        one = copy.copy(self)
        one.shards = [shard for shard in self.shards if shard.name == name]
        one._data = hashlib.sha256(f"{self._data}/{name}".encode()).hexdigest()
        one.set_epoch(self.epoch)
        return one

    def set_epoch(self, epoch: int) -> None:
        """Shuffle the next pass as that of `epoch`, and begin it at its beginning."""
        self.epoch, self._seen, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: the sample that was given out last counts as seen."""
        order = [self.seed, self.shuffle_buffer]
        return {
            "version": 1,
            "data": self._data,
            "order": order,
            "share": [*self._my_share()],
            "epoch": self.epoch,
            "seen": self._seen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the sample that was given out last before `state` was taken, with the same samples in the same order.

        Raises:
            SuasionError: the state is one of other shards, of another order, or of another rank or worker.
        """
        mine = self.state_dict()
        for name, what in (("version", "version"), ("data", "shards or splits"), ("order", "seed or shuffle_buffer")):
            if state.get(name) != mine[name]:
                raise _other_state(what, state.get(name), mine[name], self.place)
        self.epoch, self._seen, self._resumed = int(state["epoch"]), int(state["seen"]), True
        self._of_share = list(state["share"])

    def __iter__(self) -> Iterator[Sample]:
        share = self._my_share()
        if self._resumed and self._of_share != [*share]:
            raise _other_state("rank, worker or their number", self._of_share, [*share], self.place)
        start = self._seen if self._resumed else 0
        self._seen, self._resumed = start, False
        seed = None if self.shuffle_buffer is None else f"{self.seed}/{self.epoch}"
        read = spans([shard.samples for shard in self.shards], share, seed)
        places = in_order(read, share, seed, self.shuffle_buffer or 0)
        with _Window(self, read) as window:
            for shard, _ in islice(places, start):
                window.skip(shard)
            for shard, number in places:
                sample = window.sample(shard, number)
                self._seen += 1
                yield sample

    def _my_share(self) -> Share:
        worker = get_worker_info()
        return self._share if worker is None else self._share._replace(worker=worker.id, workers=worker.num_workers)

    def _open(self, at: int) -> "OpenShard":
        shard = self.shards[at]
        place = storage.join(self.place, shard.name)
        wanted = self.verify == "always" or (self.verify == "once" and shard.name not in self._verified)
        remote = storage.is_remote(place)
        if remote:
            descriptor = open_cached(place, shard, self.cache, self.cache_bytes, verify=wanted)
        else:
            descriptor = open_file(place, shard)
        status = os.fstat(descriptor)
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known, places = self._walked.get(shard.name, (file, None))
        try:
            again = places if known == file else None
            opened = OpenShard(place, shard, descriptor, verify=wanted and not remote, places=again)
        finally:
            os.close(descriptor)
        if wanted:
            self._verified.add(shard.name)
        if sum(len(walk) for _, walk in [*self._walked.values()]) + shard.samples <= REMEMBERED:
            self._walked[shard.name] = file, opened.places
        return opened


class _Window:
    """The shards that are open, and those that are being opened; a context manager that closes them all."""

    def __init__(self, dataset: ShardDataset, read: Sequence[Span]) -> None:
        self.dataset = dataset
        self.left = Counter({span.shard: span.stop - span.start for span in read})
        self.queue = [span.shard for span in reversed(read)]  # not yet asked for, the next one last
        self.coming: dict[int, Future[OpenShard]] = {}
        self.opened: dict[int, OpenShard] = {}
        self.pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="shards")

    def __enter__(self) -> "_Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Waits for nothing: an iterator that nobody has ends where Python collects it, which may be in a thread that is just
        # beginning and holds the lock that a join would ask for.
        self.pool.shutdown(wait=False, cancel_futures=True)
        for coming in self.coming.values():
            coming.add_done_callback(_close_when_opened)
        for shard in self.opened.values():
            shard.close()

    def skip(self, shard: int) -> None:
        self.left[shard] -= 1

    def sample(self, shard: int, number: int) -> Sample:
        opened = self.opened.get(shard) or self._take(shard)
        sample = opened.sample(number)
        self.left[shard] -= 1
        if not self.left[shard]:
            self.opened.pop(shard).close()
        return sample

    def _take(self, shard: int) -> "OpenShard":
        # Asked for before this one is waited for: else a thread would have nothing to do meanwhile.
        while shard not in self.coming or (self.queue and len(self.coming) <= AHEAD):
            self._ask()
        opened = self.opened[shard] = self.coming.pop(shard).result()
        return opened

    def _ask(self) -> None:
        shard = self.queue.pop()
        if self.left[shard]:
            self.coming[shard] = self.pool.submit(self.dataset._open, shard)


def _close_when_opened(coming: "Future[OpenShard]") -> None:
    if not coming.cancelled() and coming.exception() is None:
        coming.result().close()


def _manifest_at(place: str | Path) -> tuple[bytes, str]:
    """The manifest's bytes, and where its shards are."""
    if not storage.is_remote(place) and not Path(place, MANIFEST).is_file():
        raise SuasionError(
            "no manifest.json", where=str(place), do="run the shard stage first: make repro, or dvc checkout"
        )
    manifest, location = storage.join(place, MANIFEST), Path(place, LOCATION)
    if (storage.size(manifest) or 0) > MAX_BYTES:
        raise damaged(f"over {MAX_BYTES} bytes", manifest)
    elsewhere = not storage.is_remote(place) and location.is_file()
    return storage.read(manifest), _location(location) if elsewhere else str(place)


def _location(file: Path) -> str:
    with file.open("rb") as said:
        url = said.read(2000).decode("utf-8", "replace").strip()
    if not URL.fullmatch(url):
        raise SuasionError(
            f"{LOCATION} says {url[:100]!r}, which is no s3://BUCKET/FOLDER",
            where=str(file),
            do="restore it: dvc checkout, or dvc repro --force shard",
        )
    return url


def _other_state(what: str, found: Any, mine: Any, place: str) -> SuasionError:
    return SuasionError(
        f"the state is of another {what}: {found}, and here {mine}",
        where=place,
        do="resume with what the state was taken with; set_epoch begins a pass anew",
    )
