"""Writes pairs as WebDataset shards that stock `webdataset` and `datasets` read, and a manifest that vouches for them.

The same pairs give the same bytes, by any number of processes: what is in which shard is planned before the first is written. A
finished shard is noted beside it, so a killed run goes on at the first that is not; the manifest comes last. Given up: shards
that are as full as they could be. An image that has to be encoded anew is planned with the most that it can take.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from suasion import storage
from suasion.errors import SuasionError
from suasion.images.pack import PackedImages
from suasion.params import Shard
from suasion.progress import progress
from suasion.records import PAIR, SPLITS
from suasion.shards.file import Row, end_with, write_shard
from suasion.shards.jpeg import Stored, most_bytes
from suasion.shards.manifest import LOCATION, MANIFEST, ShardFile, dump, shard_name
from suasion.shards.tar import BLOCK, END
from suasion.stage import fsync

_KEY = "^[0-9A-Za-z_-]{1,90}$"
_UPLOADS = 4  # at a time
_SAID = pl.struct(sorted([*PAIR, "scene_a", "scene_b"])).struct.json_encode()
"""The JSON of a pair."""


class Chunk(NamedTuple):
    """A shard to write: its split, its name, and the rows `start` to `stop` of the located pairs."""

    split: str
    name: str
    start: int
    stop: int


def write_shards(
    pairs: pl.DataFrame,
    images: PackedImages,
    scenes: Mapping[str, str],
    settings: Shard,
    out: Path,
    *,
    workers: int = 1,
    work: Path | None = None,
) -> list[ShardFile]:
    """Write `pairs` (`records.PAIR`) to `out` as `SPLIT-00000.tar`, ... and `manifest.json`; returns its shards.

    `scenes` says what is on an image, by its hash, where that is known. `workers` processes write; the bytes do not depend on
    their number. `work` holds what is done and not yet published, is taken up again and is left in place; null: a folder
    beside `out`, made anew and removed at the end. With `settings.location` the shards go there, below a folder called by
    the hash of the manifest, and `out` has the manifest and `location.txt`.

    Raises:
        SuasionError: a pair has no place in a shard, an image is not in the pack, or the location cannot be written to.
    """
    folder = work or out.with_name(f".{out.name}.work")
    if work is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    located = _locate(pairs, images, scenes, settings.max_side)
    chunks = plan(located, settings)
    shards: dict[str, ShardFile] = {chunk.name: done for chunk in chunks if (done := _finished(folder, chunk))}
    if shards:
        print(f"{len(shards)} of {len(chunks)} shards are written already", flush=True)

    def task(chunk: Chunk) -> tuple[Any, ...]:
        rows = _rows(located[chunk.start : chunk.stop], images.folder)
        return folder / chunk.name, chunk.split, rows, settings.max_side

    todo = [chunk for chunk in chunks if chunk.name not in shards]
    for shard in progress(_written(todo, task, workers), total=len(todo), label="writing shards"):
        _note(folder, shard)
        shards[shard.name] = shard
    found = [shards[chunk.name] for chunk in chunks]
    out.mkdir(parents=True)
    if settings.location is None:
        for shard in found:
            place(folder / shard.name, out / shard.name)
    else:
        (out / LOCATION).write_text(_upload(folder, found, settings.location) + "\n")
    (out / MANIFEST).write_bytes(dump(found))
    if work is None:
        shutil.rmtree(folder)
    return found


def plan(located: pl.DataFrame, settings: Shard) -> list[Chunk]:
    """What is in which shard: pairs in order, at most `samples_per_shard` and `bytes_per_shard` (but at least one pair)."""
    ends = np.append(0, located["most_bytes"].cum_sum().to_numpy())
    chunks, start = [], 0
    for split, count in located.group_by("split", maintain_order=True).len().iter_rows():
        stop, number = start + count, 0
        while start < stop:
            fits = int(np.searchsorted(ends, ends[start] + settings.bytes_per_shard - len(END), side="right")) - 1
            end = max(start + 1, min(fits, start + settings.samples_per_shard, stop))
            chunks.append(Chunk(split, shard_name(split, number), start, end))
            start, number = end, number + 1
    return chunks


def _locate(pairs: pl.DataFrame, images: PackedImages, scenes: Mapping[str, str], max_side: int) -> pl.DataFrame:
    """Pairs in the order of splits and ids, with their scenes, where their images are, and the most bytes that they take."""
    strange = pairs.filter(~pl.col("pair_id").str.contains(_KEY))["pair_id"]
    if len(strange):
        raise SuasionError(
            f"{len(strange)} pairs have ids that cannot be names of files, the first is {strange[0][:120]!r}",
            where="pair_id",
            do="ids are of letters, digits, _ and -, at most 90 of them",
        )
    fits = (pl.col("format") == "jpg") & (pl.max_horizontal("width", "height") <= max_side)
    sizes = images.index.select("width", "height").iter_rows()
    encoded = pl.Series([most_bytes(width, height, max_side) for width, height in sizes], dtype=pl.Int64)
    index = images.index.select(
        "sha256", "tar", "offset", "size", fits=fits, most=pl.when(fits).then("size").otherwise(encoded)
    )
    for side in "ab":
        names = {name: f"{name}_{side}" for name in index.columns if name != "sha256"}
        pairs = pairs.join(index.rename(names), left_on=f"image_{side}", right_on="sha256", how="left")
        missing = pairs.filter(pl.col(f"tar_{side}").is_null())
        if missing.height:
            raise SuasionError(
                f"image {missing[f'image_{side}'][0]} of pair {missing['pair_id'][0]} is not in the pack",
                where=str(images.folder),
                do="restore it: dvc checkout, or dvc repro --force ingest",
            )
        scene = pl.col(f"image_{side}").replace_strict(scenes, default=None, return_dtype=pl.String)
        pairs = pairs.with_columns(scene.alias(f"scene_{side}"))
    order = pl.col("split").replace_strict({split: at for at, split in enumerate(SPLITS)}, return_dtype=pl.Int64)
    located = pairs.sort(order, "pair_id")
    said = pl.concat([part.select(_SAID.str.len_bytes()).to_series() for part in located.iter_slices(100_000)])
    return located.with_columns(most_bytes=sum(_blocks(size) for size in (pl.col("most_a"), pl.col("most_b"), said)))


def _blocks(size: pl.Expr | pl.Series) -> Any:
    """Bytes of a member in a tar: its header, its content, and zeros up to a whole block."""
    return BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK


def _rows(located: pl.DataFrame, folder: Path) -> list[Row]:
    where: list[Any] = [f"{name}_{side}" for side in "ab" for name in ("tar", "offset", "size", "fits")]
    where[0], where[4] = (pl.concat_str(pl.lit(f"{folder}/"), f"tar_{side}").alias(f"tar_{side}") for side in "ab")
    rows = located.select("pair_id", _SAID.cast(pl.Binary).alias("json"), *where).iter_rows()
    return [Row(key, said, Stored(*rest[:4]), Stored(*rest[4:])) for key, said, *rest in rows]


def _written(chunks: list[Chunk], task: Callable[[Chunk], tuple[Any, ...]], workers: int) -> Iterator[ShardFile]:
    """The shards as they are finished, in the order of `chunks`; the rows of a few alone are in memory."""
    if min(workers, len(chunks)) < 2:
        yield from (write_shard(*task(chunk)) for chunk in chunks)
        return
    # Not forked: a thread of this process may hold a lock that the copy would wait for.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["suasion.shards.file"])
    with ProcessPoolExecutor(min(workers, len(chunks)), context, end_with, (os.getpid(),)) as pool:
        waiting: deque[Future[ShardFile]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(write_shard, *task(chunk)))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise SuasionError(
                "a process that was writing a shard was ended from outside",
                where="stage shard",
                do="look whether memory is short; then run again: it goes on at the first unfinished shard",
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _note(folder: Path, shard: ShardFile) -> None:
    """Say beside a finished shard what it is, so that a killed run need not write it again."""
    aside = folder / f".{shard.name}.json.tmp"
    aside.write_text(json.dumps(shard._asdict()))
    fsync(aside)
    aside.replace(folder / f"{shard.name}.json")


def _finished(folder: Path, chunk: Chunk) -> ShardFile | None:
    """The shard of `chunk`, if an interrupted run has written it whole and it is what that run noted."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        shard = ShardFile(**json.loads((folder / f"{chunk.name}.json").read_text()))
        with (folder / chunk.name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256:
                return shard
    return None


def _upload(folder: Path, shards: list[ShardFile], location: str) -> str:
    """Bring the shards to `location`, then their manifest; returns the URL of the folder that they are in.

    The folder is called by the manifest's hash, so what is there already can only be what is brought.
    """
    manifest = dump(shards)
    target = storage.join(location, hashlib.sha256(manifest).hexdigest()[:16])

    def upload(shard: ShardFile) -> None:
        place = storage.join(target, shard.name)
        try:
            storage.put(folder / shard.name, place, new=True)
        except FileExistsError:
            size = storage.size(place)
            if size != shard.bytes:
                raise SuasionError(
                    f"another object is there already, of {size} bytes instead of {shard.bytes}",
                    where=place,
                    do="remove it, or set another shard.location",
                ) from None

    with ThreadPoolExecutor(_UPLOADS) as pool:
        try:
            for _ in progress(pool.map(upload, shards), total=len(shards), label="bringing shards to their location"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    with contextlib.suppress(FileExistsError):
        storage.put(manifest, storage.join(target, MANIFEST), new=True)
    return target


def place(file: Path, target: Path) -> None:
    """`file` at `target` without moving it: until all is published, a killed run must find it where it was."""
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)
