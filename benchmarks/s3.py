"""The part of the benchmark of shards that needs a server: the same samples on SeaweedFS, and who reads them from there."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks import peers
from benchmarks.peers import Contender
from benchmarks.shards import LOADERS
from suasion import storage
from suasion.images.pack import PackedImages
from tests.s3 import Bucket, bucket, running

HOUR = 3600


@contextlib.contextmanager
def contenders(folder: Path, pairs: pl.DataFrame, images: PackedImages) -> Iterator[list[Contender]]:
    """Start a server, bring `folder`/shards and chunks of the same samples there, and give who reads them.

    The variables that lead S3 clients to the server stay set: this is the last thing that the benchmark does.
    """
    shards, chunks = folder / "shards", folder / "chunks"
    wanted = int(images.index["size"].sum())
    tars = sorted(shards.glob("*.tar"))
    peers.make_chunks(pairs.to_dicts(), images, chunks, chunk_bytes=tars[0].stat().st_size)
    with running(folder / "weed") as server, bucket(server) as place:
        os.environ.update(server.environment())
        for file in [*tars, shards / "manifest.json", *chunks.iterdir()]:
            storage.put(file, f"{place.url}/{file.parent.name}/{file.name}", new=True)
        signed = [_signed(place, f"shards/{tar.name}") for tar in tars]

        def ours(workers: int, cache: Path) -> dict[str, float]:
            from suasion.shards import ShardDataset

            def work() -> int:
                dataset = ShardDataset(f"{place.url}/shards", "train", verify="once", cache=cache)
                return peers.take_ours(peers.loaded(dataset, workers))

            return peers.timed(f"s3_ours_{workers}", work, wanted)

        def webdataset(workers: int, cache: Path) -> dict[str, float]:
            def work() -> int:
                return peers.take(peers.loaded(peers.webdataset_samples(signed), workers))

            return peers.timed(f"s3_webdataset_{workers}", work, wanted)

        def litdata(workers: int, cache: Path) -> dict[str, float]:
            def work() -> int:
                return peers.take(peers.loaded(peers.litdata_samples(f"{place.url}/chunks", cache), workers))

            return peers.timed(f"s3_litdata_{workers}", work, wanted)

        yield [partial(work, workers) for workers in LOADERS for work in (ours, webdataset, litdata)]


def _signed(place: Bucket, key: str) -> str:
    """A command by which `webdataset` reads an object without knowing how to sign."""
    wanted = {"Bucket": place.name, "Key": key}
    url = place.server.client().generate_presigned_url("get_object", Params=wanted, ExpiresIn=HOUR)
    return f"pipe:curl --silent --fail {shlex.quote(url)}"
