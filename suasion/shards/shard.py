"""A shard under a memory map: checked as it is opened, then read sample by sample."""

import hashlib
import mmap
import os
import stat
from itertools import product
from pathlib import Path
from types import NoneType
from typing import Any

import orjson

from suasion.errors import SuasionError
from suasion.records import LABELS, PAIR
from suasion.shards.manifest import ShardFile
from suasion.shards.sample import Sample
from suasion.shards.tar import BadTar, Place, samples

_ROW: dict[str, set[type]] = {name: {kind} for name, kind in PAIR.to_python().items()}
_ROW |= {name: {str, NoneType} for name in ("model_a", "model_b", "scene_a", "scene_b")}
_NAMES = sorted(_ROW)
_KINDS = {*product(*(_ROW[name] for name in _NAMES))}


class OpenShard:
    """The shard behind `descriptor`, which is not needed any more after this; `path` is where errors say it is.

    `places` are those of an earlier walk over the same file; null: it is walked.

    Raises:
        SuasionError: size, sha256 (where `verify` asks for it), structure or number of samples are not those of the manifest.
    """

    def __init__(
        self, path: str, shard: ShardFile, descriptor: int, *, verify: bool, places: list[Place] | None = None
    ) -> None:
        self.path, self.name, self.split = path, shard.name, shard.split
        size = os.fstat(descriptor).st_size
        try:
            self.map: Any = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise self._damaged(f"{size} bytes, which cannot be mapped into memory ({error.strerror})") from None
        try:
            problem = self._problem(shard, verify=verify)
            try:
                self.places = samples(self.map) if places is None or problem else places
            except BadTar as error:
                raise self._damaged(f"{problem}: {error}" if problem else str(error)) from None
            if problem is None and len(self.places) != shard.samples:
                problem = f"{len(self.places)} samples where the manifest has {shard.samples}"
            if problem:
                raise self._damaged(problem)
        except BaseException:
            self.close()
            raise

    def sample(self, number: int) -> Sample:
        """The sample at place `number`, its images as bytes."""
        key, kind_a, kind_b, a, a_size, b, b_size, at, size = self.places[number]
        said = self.map[at : at + size]
        try:
            pair = orjson.loads(said)
        except orjson.JSONDecodeError as error:
            raise self._damaged(f"{key}.json, which is no JSON ({error}), at byte {at}") from None
        if not _is_row(pair) or (pair["pair_id"], pair["split"]) != (key, self.split) or orjson.dumps(pair) != said:
            raise self._damaged(f"{key}.json, which is not the row of pair {key} of {self.split}, at byte {at}")
        scene_a, scene_b = pair.pop("scene_a"), pair.pop("scene_b")
        images = self.map[a : a + a_size], self.map[b : b + b_size]
        return Sample(pair, *images, scene_a, scene_b, kind_a, kind_b, self.path)

    def close(self) -> None:
        """Give the memory map back; samples that were read stay."""
        if isinstance(self.map, mmap.mmap):
            self.map.close()

    def _problem(self, shard: ShardFile, *, verify: bool) -> str | None:
        if len(self.map) != shard.bytes:
            return f"{len(self.map)} bytes where the manifest has {shard.bytes}"
        found = hashlib.sha256(self.map).hexdigest() if verify else shard.sha256
        return None if found == shard.sha256 else f"other bytes than were written (sha256 {found}, not {shard.sha256})"

    def _damaged(self, what: str) -> SuasionError:
        return SuasionError(
            f"{self.name} holds {what}", where=self.path, do="restore it: dvc checkout, or dvc repro --force shard"
        )


def _is_row(pair: Any) -> bool:
    """Whether `pair` has the columns of a pair and their types. That no key came twice shows when it is written again."""
    if not isinstance(pair, dict) or [*pair] != _NAMES:
        return False
    return (*map(type, pair.values()),) in _KINDS and pair["label"] in LABELS


def open_file(path: str, shard: ShardFile) -> int:
    """A descriptor of the local file at `path`.

    Raises:
        SuasionError: nothing is there, or something that is no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    except OSError as error:
        raise _missing(path, shard, f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _missing(path, shard, "is no file")
    return descriptor


def _missing(path: str, shard: ShardFile, what: str) -> SuasionError:
    return SuasionError(
        f"{shard.name} {what}", where=str(Path(path)), do="restore it: dvc checkout, or dvc repro --force shard"
    )
