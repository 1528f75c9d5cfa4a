"""Shards in a bucket of a real S3 server: written there once, read through a cache of bounded size."""

import contextlib
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from suasion import storage
from suasion.errors import SuasionError
from suasion.images.pack import PackedImages
from suasion.shards import ShardDataset
from suasion.shards.writer import write_shards
from tests.s3 import Bucket
from tests.shards.pairs import SETTINGS, make_pairs


@pytest.fixture
def forty(tmp_path: Path) -> pl.DataFrame:
    return make_pairs(tmp_path / "images", train=40)


def write(pairs: pl.DataFrame, tmp_path: Path, name: str, location: str | None, work: Path | None = None) -> Path:
    settings = SETTINGS.model_copy(update={"location": location})
    write_shards(pairs, PackedImages(tmp_path / "images"), {}, settings, tmp_path / name, work=work)
    return tmp_path / name


def cached(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.tar"):
        with contextlib.suppress(FileNotFoundError):  # it has made room meanwhile
            total += path.stat().st_size
    return total


def test_shards_in_a_bucket_are_those_of_a_disk(s3: Bucket, forty: pl.DataFrame, tmp_path: Path) -> None:
    here = write(forty, tmp_path, "here", None)
    there = write(forty, tmp_path, "there", f"{s3.url}/shards")
    assert sorted(path.name for path in there.iterdir()) == ["location.txt", "manifest.json"]
    assert (there / "manifest.json").read_bytes() == (here / "manifest.json").read_bytes()
    url = (there / "location.txt").read_text().strip()
    assert url == f"{s3.url}/shards/{hashlib.sha256((here / 'manifest.json').read_bytes()).hexdigest()[:16]}"
    assert storage.names(url) == sorted(path.name for path in here.iterdir())
    for path in here.iterdir():
        assert storage.read(f"{url}/{path.name}") == path.read_bytes()

    local = [*ShardDataset(here, "train")]
    assert [*ShardDataset(there, "train", cache=tmp_path / "one")] == local
    assert [*ShardDataset(url, "train", cache=tmp_path / "two")] == local
    shuffled = [*ShardDataset(here, "train", shuffle_buffer=9)]
    assert [*ShardDataset(url, "train", cache=tmp_path / "two", shuffle_buffer=9)] == shuffled


def test_writing_again_or_after_a_kill_brings_what_is_missing(s3: Bucket, forty: pl.DataFrame, tmp_path: Path) -> None:
    location = f"{s3.url}/shards"
    url = (write(forty, tmp_path, "first", location) / "location.txt").read_text().strip()
    for name in ("manifest.json", "train-00003.tar"):
        storage.remove(f"{url}/{name}")
    write(forty, tmp_path, "second", location)
    assert len([*ShardDataset(url, "train", cache=tmp_path / "cache")]) == 40
    storage.remove(f"{url}/train-00003.tar")
    storage.put(b"something else", f"{url}/train-00003.tar", new=True)
    with pytest.raises(SuasionError, match=r"another object is there already, of 14 bytes"):
        write(forty, tmp_path, "third", location)
    assert not (tmp_path / "third" / "manifest.json").exists()


def test_the_cache_is_bounded_and_used(s3: Bucket, forty: pl.DataFrame, tmp_path: Path) -> None:
    there = write(forty, tmp_path, "there", f"{s3.url}/shards")
    sizes = [shard["bytes"] for shard in json.loads((there / "manifest.json").read_text())["shards"]]
    cache, limit = tmp_path / "cache", 4 * max(sizes)
    data = ShardDataset(there, "train", cache=cache, cache_bytes=limit)
    most = 0
    for _ in data:
        most = max(most, cached(cache))
    assert max(sizes) < most <= limit < sum(sizes)
    url = (there / "location.txt").read_text().strip()
    whole = ShardDataset(there, "train", cache=tmp_path / "whole")
    first = [*whole]
    for name in storage.names(url):
        storage.remove(f"{url}/{name}")
    assert [*whole] == [*ShardDataset(there, "train", cache=tmp_path / "whole")] == first, "from the cache alone"
    with pytest.raises(SuasionError, match=r"train-0000\d\.tar has \d+ bytes, and the cache may have 1000"):
        next(iter(ShardDataset(there, "train", cache=tmp_path / "none", cache_bytes=1000)))


def test_many_readers_share_a_cache(s3: Bucket, forty: pl.DataFrame, tmp_path: Path) -> None:
    there = write(forty, tmp_path, "there", f"{s3.url}/shards")
    size = max(shard["bytes"] for shard in json.loads((there / "manifest.json").read_text())["shards"])

    def read(rank: int) -> list[str]:
        data = ShardDataset(there, "train", rank=rank, world_size=4, cache=tmp_path / "cache", cache_bytes=3 * size)
        return [sample.pair["pair_id"] for _ in range(2) for sample in data]

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(read, range(4))]
    assert sorted(pair for share in found for pair in share) == sorted(2 * forty["pair_id"].to_list())
    assert cached(tmp_path / "cache") <= 3 * size
    assert not [*(tmp_path / "cache").glob("*.tmp")]


def test_an_object_or_a_copy_that_was_changed_is_found(s3: Bucket, forty: pl.DataFrame, tmp_path: Path) -> None:
    there = write(forty, tmp_path, "there", f"{s3.url}/shards")
    url = (there / "location.txt").read_text().strip()
    first = f"{url}/train-00000.tar"
    content = bytearray(storage.read(first))
    content[700] ^= 1
    assert len([*ShardDataset(there, "train", cache=tmp_path / "cache")]) == 40
    storage.put(bytes(content), first, new=False)
    with pytest.raises(SuasionError, match=r"train-00000\.tar has the sha256 \w+, not \w+"):
        next(iter(ShardDataset(there, "train", cache=tmp_path / "other")))
    storage.put(bytes(content[:-512]), first, new=False)
    with pytest.raises(SuasionError, match=r"\d+ bytes where \d+ are expected"):
        next(iter(ShardDataset(there, "train", cache=tmp_path / "another")))
    until = time.monotonic() + 20  # the next shard was on its way
    while [*(tmp_path / "another").glob("*.tmp")] and time.monotonic() < until:
        time.sleep(0.01)
    assert not [*(tmp_path / "another").glob("*.tmp")]


def test_a_bucket_without_shards_is_one_clear_error(s3: Bucket) -> None:
    with pytest.raises(SuasionError, match="nothing is there|no manifest"):
        ShardDataset(f"{s3.url}/nothing", "train")
