"""What shards cost to write and to read, against `webdataset`, `litdata` and the limits of the machine.

    python -m benchmarks.shards [--pairs 6000] [--rounds 5] [--no-s3]

6,000 pairs of two 60 kB JPEGs and their JSON in twelve shards. Every figure is pairs a second, the median of rounds in which
all contenders take their turn, each round begun by another one; no round is left out, the least and the most are given.

- *write*: from the call until all bytes are on the disk (fsync). Ours looks into every image, hashes every shard and writes
  the manifest; `ShardWriter` does none of it. Both read the same images from the same pack and make the same JSON; both
  have as many processes, whose start counts, each with whole shards of its own. The headline is two processes.
- *limit of writing*: the same bytes out of memory to as many files by as many processes with fsync, or what as many cores
  hash with nothing else to do (SHA-256 of one core, times the processes): whatever is less.
- *read*: one process, page cache warm, every image as bytes, the JSON parsed. `read` is the mean of five passes over one
  dataset, as training has them: the first verifies every shard. `first_read` is that first pass alone, a pass that
  verifies against peers that verify nothing. All read the shards that we wrote.
- *mmap walk*: name and size of every member out of mapped tars, content as bytes; nothing is checked or parsed.
- *S3*: SeaweedFS on this machine, which shares its cores; an empty cache each round, ours verified. `webdataset` reads by
  `pipe:curl` of signed addresses, `litdata` its own chunks, of the size of our shards. All in this process (the headline, as
  for files), and with two workers of a DataLoader.
- *memory*: peak of a process that writes, and of one that reads, sixty shards and six of the same size.

The last line is one JSON object. Given up: reading from a cold disk, which measures the disk.
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Nothing else is imported up here: the processes that write our shards import the program that they were started by.

PAIRS, SHARDS, ROUNDS = 6000, 12, 5
PROCESSES = (1, 2)
LOADERS = (0, 2)
LIMITS = {
    "write_vs_shardwriter": 2.5,
    "write_vs_limit": 0.7,
    "read_vs_webdataset": 5.0,
    "read_vs_mmap_walk": 0.5,
    "s3_read_vs_best_peer": 1.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-s3", action="store_true", help="leave out what needs a server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="suasion-shards-") as name:
        result = measure(Path(name), options.pairs, options.rounds, s3=not options.no_s3)
    missed = [
        f"{name} is {result[name]}, {least} at least is wanted"
        for name, least in LIMITS.items()
        if name in result and result[name] < least
    ]
    print("\n".join(missed) or "all limits are met")
    print(json.dumps(result))
    raise SystemExit(1 if missed else 0)


def measure(folder: Path, count: int, rounds: int, *, s3: bool) -> dict[str, Any]:
    """All figures at `count` pairs; `folder` is filled with up to six times the bytes of the images."""
    from benchmarks import local, peers
    from suasion.images.pack import PackedImages
    from suasion.records import PAIR, write

    print(f"making {count:,} pairs", flush=True)
    pairs = peers.make_pairs(peers.make_images(folder / "pack", 2 * count))
    write(pairs, folder / "pairs.parquet", PAIR)
    images = PackedImages(folder / "pack")
    per_shard = -(-count // SHARDS)
    local.write_ours(pairs, images, per_shard, 1, folder / "shards")
    tars = sorted((folder / "shards").glob("*.tar"))
    print("writing", flush=True)
    seconds = interleave(local.writers(pairs, images, per_shard, tars), rounds, folder / "scratch")
    print("reading", flush=True)
    seconds |= interleave(
        local.readers(folder / "shards", tars, int(images.index["size"].sum())), rounds, folder / "scratch"
    )
    print("memory", flush=True)
    memory = local.peaks(folder, count)
    if s3:
        from benchmarks.s3 import contenders

        print("reading from S3", flush=True)
        with contenders(folder, pairs, images) as found:
            seconds |= interleave(found, rounds, folder / "scratch")
    rates = {
        name: {
            "median": round(count / statistics.median(own)),
            "min": round(count / max(own)),
            "max": round(count / min(own)),
        }
        for name, own in seconds.items()
    }
    rest = {"pairs": count, "shards": len(tars), "rounds": rounds, "shard_bytes": tars[0].stat().st_size}
    return ratios({name: rate["median"] for name, rate in rates.items()}) | memory | rest | {"pairs_per_second": rates}


def ratios(rate: dict[str, int]) -> dict[str, float]:
    """The figures that are promised, and those beside them, out of medians in pairs a second."""
    found: dict[str, float] = {}
    for processes in PROCESSES:
        name = "" if processes == PROCESSES[-1] else f"_{processes}"
        limit = min(rate[f"write_raw_{processes}"], processes * rate["sha256_one_core"])
        found[f"write_vs_shardwriter{name}"] = rate[f"write_ours_{processes}"] / rate[f"write_shardwriter_{processes}"]
        found[f"write_vs_limit{name}"] = rate[f"write_ours_{processes}"] / limit
    found |= {
        "read_vs_webdataset": rate["read_ours"] / rate["read_webdataset"],
        "first_read_vs_webdataset": rate["first_read_ours"] / rate["read_webdataset"],
        "read_vs_mmap_walk": rate["read_ours"] / rate["mmap_walk"],
        "read_vs_mmap_walk_headers_only": rate["read_ours"] / rate["mmap_walk_headers_only"],
    }
    for workers in LOADERS:
        if f"s3_ours_{workers}" in rate:
            best = max(rate[f"s3_webdataset_{workers}"], rate[f"s3_litdata_{workers}"])
            found[f"s3_read_vs_best_peer{f'_{workers}_workers' if workers else ''}"] = rate[f"s3_ours_{workers}"] / best
    return {name: round(value, 2) for name, value in found.items()}


def interleave(
    contenders: list[Callable[[Path], dict[str, float]]], rounds: int, scratch: Path
) -> dict[str, list[float]]:
    """Seconds of every round, by name."""
    seconds: dict[str, list[float]] = {}
    for turn in range(rounds):
        for at in range(len(contenders)):
            gc.collect()
            os.sync()  # what others left to be written is not ours to wait for
            for name, value in contenders[(turn + at) % len(contenders)](scratch).items():
                seconds.setdefault(name, []).append(value)
            shutil.rmtree(scratch, ignore_errors=True)
    return seconds


if __name__ == "__main__":
    main()
