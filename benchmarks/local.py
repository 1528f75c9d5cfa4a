"""The part of the benchmark of shards that needs this machine alone: who writes to its disk, who reads from its memory."""

import multiprocessing.forkserver
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import peers
from benchmarks.peers import Contender
from benchmarks.shards import PROCESSES
from benchmarks.votes import clock
from suasion.images.pack import PackedImages
from suasion.params import ROOT, Shard
from suasion.records import PAIR, read

PASSES = 5


def writers(pairs: pl.DataFrame, images: PackedImages, per_shard: int, tars: list[Path]) -> list[Contender]:
    rows = pairs.to_dicts()

    def ours(processes: int, out: Path) -> dict[str, float]:
        multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]  # the next call has to start one anew
        return {f"write_ours_{processes}": clock(lambda: write_ours(pairs, images, per_shard, processes, out))[0]}

    def theirs(processes: int, out: Path) -> dict[str, float]:
        out.mkdir()
        work = partial(peers.shard_writer, rows, images, out, per_shard, processes)
        return {f"write_shardwriter_{processes}": clock(work)[0]}

    def raw(processes: int, out: Path) -> dict[str, float]:
        out.mkdir()
        contents = [tar.read_bytes() for tar in tars]
        return {f"write_raw_{processes}": clock(lambda: peers.write_raw(contents, out, processes))[0]}

    def hashed(out: Path) -> dict[str, float]:
        contents = [tar.read_bytes() for tar in tars]
        return {"sha256_one_core": clock(lambda: peers.hash_all(contents))[0]}

    return [hashed, *(partial(work, processes) for processes in PROCESSES for work in (ours, theirs, raw))]


def write_ours(pairs: pl.DataFrame, images: PackedImages, per_shard: int, processes: int, out: Path) -> None:
    from suasion.shards.writer import write_shards

    settings = Shard(samples_per_shard=per_shard, bytes_per_shard=10**12, max_side=peers.SIDE, location=None)
    write_shards(pairs, images, {}, settings, out, workers=processes)


def readers(folder: Path, tars: list[Path], wanted: int) -> list[Contender]:
    """Who reads local shards, `wanted` bytes of images in all."""
    from suasion.shards import ShardDataset

    urls = [str(tar) for tar in tars]

    def ours(scratch: Path) -> dict[str, float]:
        dataset = ShardDataset(folder, "train", verify="once")
        work = partial(peers.take_ours, dataset)
        passes = [peers.timed("pass", work, wanted)["pass"] for _ in range(PASSES)]
        return {"first_read_ours": passes[0], "later_read_ours": passes[-1], "read_ours": sum(passes) / PASSES}

    def theirs(scratch: Path) -> dict[str, float]:
        return peers.timed("read_webdataset", lambda: peers.take(peers.webdataset_samples(urls)), wanted)

    def walks(scratch: Path) -> dict[str, float]:
        return {
            "mmap_walk": clock(lambda: peers.walk(tars, payload=True))[0],
            "mmap_walk_headers_only": clock(lambda: peers.walk(tars, payload=False))[0],
        }

    return [ours, theirs, walks]


def peaks(folder: Path, count: int) -> dict[str, Any]:
    """Peak of resident memory (MiB) with a tenth of the pairs and with all of them, in shards of one size."""
    found: dict[str, Any] = {}
    for part in ("write", "read"):
        few, many = (_peak(folder, part, pairs, -(-count // 60)) for pairs in (count // 10, count))
        found[f"{part}_peak_mib"] = {"6 shards": round(few / 2**20), "60 shards": round(many / 2**20)}
        found[f"{part}_memory_60_vs_6_shards"] = round(many / few, 2)
    return found


def _peak(folder: Path, part: str, pairs: int, per_shard: int) -> int:
    command = [sys.executable, "-m", "benchmarks.local", part, str(folder), str(pairs), str(per_shard)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1])


def peak(part: str, folder: Path, count: int, per_shard: int) -> None:
    """Write or read `count` pairs in this process, and print the most memory that it or a child of it held, in bytes."""
    out = folder / f"peak-{count}"
    if part == "write":
        pairs = read(folder / "pairs.parquet", PAIR).head(count)
        write_ours(pairs, PackedImages(folder / "pack"), per_shard, 2, out)
    else:
        from suasion.shards import ShardDataset

        dataset = ShardDataset(out, "train", verify="once")
        for _ in range(2):
            peers.take_ours(dataset)
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(max(int(own.split()[1]), children) * 1024)


if __name__ == "__main__":
    peak(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
