"""What the benchmark of shards is measured against: the bytes that all share, the limits of the machine, the peers.

Everybody gets the same members: two JPEGs and the JSON of a pair. The peers are called the fastest sane way that we
found: `ShardWriter` takes bytes as they are and hashes nothing; `webdataset` decodes nothing; `litdata` has obstore, and
chunks of the size of our shards. Given up: mosaicml-streaming, which wants transformers < 5.
"""

import hashlib
import io
import json
import mmap
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from benchmarks.votes import clock
from suasion.images.check import Checked
from suasion.images.pack import ImagePack, PackedImages
from suasion.records import PAIR

os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"  # it would ask the package index each time

SIDE, QUALITY = 256, 90  # noise of this size and quality is a JPEG of 60 kB
BATCH = 32  # samples that a loader's worker hands over at once, everybody's
WRITE_BYTES = 2**20  # of all sizes that we tried (60 kB, 1, 8, 60 MB, 96 members by writev) the fastest

Rows = list[dict[str, Any]]
Contender = Callable[[Path], dict[str, float]]
"""Works in a folder that is not there yet, and gives seconds by name."""


def make_images(folder: Path, count: int) -> list[str]:
    """A pack of `count` different JPEGs of noise, 60 kB each; returns their hashes."""

    def encode(seed: int) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format="JPEG", quality=QUALITY)
        return buffer.getvalue()

    names = []
    with ImagePack(folder) as pack, ThreadPoolExecutor(2) as threads:
        for start in range(0, count, 256):
            for content in threads.map(encode, range(start, min(start + 256, count))):
                names.append(hashlib.sha256(content).hexdigest())
                pack.add(content, Checked(names[-1], SIDE, SIDE, "jpg", b"\0" * 24))
    return names


def make_pairs(images: list[str]) -> pl.DataFrame:
    """`records.PAIR`: one pair of every two images, all in split train, sorted by pair."""
    rng = random.Random(0)
    words = ["one", "two", "three", "red", "blue", "circle", "star", "square", "left", "right", "top", "not", "under"]
    facts = {"model_a": "model-a", "model_b": "model-b", "split": "train", "source": "bench", "label": "a"}
    numbers = {
        "p_a": 0.87,
        "n_votes": 9,
        "votes_a": 6,
        "votes_b": 2,
        "votes_tie": 1,
        "agreement": 0.75,
        "tie_rate": 1 / 9,
    }
    rows = [
        {
            "pair_id": f"{rng.getrandbits(96):024x}",
            "prompt_id": f"{rng.getrandbits(96):024x}",
            "prompt": " ".join(rng.choices(words, k=16)),
            "image_a": image_a,
            "image_b": image_b,
            **facts,
            **numbers,
        }
        for image_a, image_b in zip(images[::2], images[1::2], strict=True)
    ]
    return pl.DataFrame(rows).select(PAIR.names()).cast(dict(PAIR)).sort("pair_id")  # type: ignore[arg-type]


def described(row: dict[str, Any]) -> bytes:
    """The JSON member of a pair: the same object as in our shards."""
    return json.dumps(row | {"scene_a": None, "scene_b": None}, ensure_ascii=False, sort_keys=True).encode()


def shard_writer(rows: Rows, images: PackedImages, out: Path, per_shard: int, workers: int) -> None:
    """`webdataset.ShardWriter`, every process with its own whole shards, each brought to the disk when it is done."""
    starts = range(0, len(rows), per_shard)
    share = -(-len(starts) // workers) * per_shard
    parts = [(rows[at : at + share], at // per_shard) for at in range(0, len(rows), share)]
    in_processes(partial(_shard_writer, images, out, per_shard), parts)


def _shard_writer(images: PackedImages, out: Path, per_shard: int, part: tuple[Rows, int]) -> None:
    from webdataset import ShardWriter

    rows, first = part
    with ShardWriter(
        f"{out}/train-%05d.tar", maxcount=per_shard, start_shard=first, verbose=0, post=_fsync, encoder=False, mtime=0
    ) as sink:
        for row in rows:
            a, b = images.read(row["image_a"]), images.read(row["image_b"])
            sink.write({"__key__": row["pair_id"], "a.jpg": a, "b.jpg": b, "json": described(row)})


def _fsync(name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write_raw(contents: list[bytes], out: Path, workers: int) -> None:
    """The limit of the disk: bytes that lie in memory to as many files, each brought to the disk."""
    numbered = list(enumerate(contents))
    in_processes(partial(_write_raw, out), [numbered[start::workers] for start in range(workers)])


def _write_raw(out: Path, part: list[tuple[int, bytes]]) -> None:
    for number, content in part:
        view = memoryview(content)
        with (out / str(number)).open("wb", buffering=0) as file:
            for at in range(0, len(view), WRITE_BYTES):
                file.write(view[at : at + WRITE_BYTES])
            os.fsync(file.fileno())


def in_processes(work: Callable[[Any], None], parts: list[Any]) -> None:
    """One process for each part, started by a fork, which is the cheapest; a single part is worked on here."""
    if len(parts) == 1:
        work(parts[0])
        return
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(part,)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"a process of {work} ended with status {process.exitcode}")


def hash_all(contents: list[bytes]) -> None:
    """The limit of one core that has to verify."""
    for content in contents:
        hashlib.sha256(content).digest()


def walk(paths: list[Path], *, payload: bool) -> int:
    """Names and sizes of all members out of mapped tars, in as little Python as it takes; with the content as bytes.

    Nothing is checked, and the JSON stays text. Returns the number of members.
    """
    count = 0
    for path in paths:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            at = 0
            while name := view[at : at + 100].rstrip(b"\0"):  # noqa: F841
                size = int(view[at + 124 : at + 135], 8)
                if payload:
                    content = view[at + 512 : at + 512 + size]  # noqa: F841
                at += 512 + (size + 511 & -512)
                count += 1
    return count


def webdataset_samples(urls: list[str]) -> Any:
    """Stock `webdataset` over files or `pipe:` commands; images stay bytes, the JSON is parsed."""
    import webdataset

    return webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).map(_parse)


def _parse(sample: dict[str, Any]) -> dict[str, Any]:
    sample["json"] = json.loads(sample["json"])
    return sample


def make_chunks(rows: Rows, images: PackedImages, out: Path, chunk_bytes: int) -> None:
    """The same samples as `litdata` keeps them: an index and chunks of `chunk_bytes`."""
    import litdata

    litdata.optimize(
        partial(_sample, images),
        rows,
        str(out),
        chunk_bytes=chunk_bytes,
        num_workers=1,
        verbose=False,
        start_method="fork",
        keep_data_ordered=True,
    )


def _sample(images: PackedImages, row: dict[str, Any]) -> dict[str, bytes]:
    return {"a.jpg": images.read(row["image_a"]), "b.jpg": images.read(row["image_b"]), "json": described(row)}


def litdata_samples(url: str, cache: Path) -> Any:
    """Samples of chunks on S3; its obstore client, which refuses servers without TLS, is told that ours may."""
    import litdata
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"
    return litdata.StreamingDataset(url, cache_dir=str(cache), shuffle=False, transform=_parse)


def loaded(dataset: Any, workers: int) -> Iterable[Any]:
    """Samples of `dataset` in this process, or out of as many of a `DataLoader`, handed over in lists."""
    if workers == 0:
        return dataset  # type: ignore[no-any-return]
    from torch.utils.data import DataLoader

    return _flat(DataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=list))


def _flat(batches: Iterable[list[Any]]) -> Iterator[Any]:
    for batch in batches:
        yield from batch


def timed(name: str, work: Callable[[], int], wanted: int) -> dict[str, float]:
    """Seconds of `work`, which has to come to `wanted` bytes of images: who leaves some out is no peer."""
    seconds, total = clock(work)
    if total != wanted:
        raise SystemExit(f"{name} read {total} bytes of images where there are {wanted}")
    return {name: seconds}


def take_ours(samples: Iterable[Any]) -> int:
    """Bytes of all images of our samples."""
    return sum(len(sample.image_a) + len(sample.image_b) for sample in samples)


def take(samples: Iterable[Any]) -> int:
    """Bytes of all images of samples that are mappings."""
    return sum(len(sample["a.jpg"]) + len(sample["b.jpg"]) for sample in samples)
