"""A run to compare: a folder that has its outputs, or a git revision of this repository, whose outputs DVC's cache has.

Given up: pulling from a remote by hand; where the cache lacks a file, DVC asks its remote, and what that has not is an error.
"""

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from suasion.errors import SuasionError
from suasion.records import EVALUATED, PREDICTION, read
from suasion.shards.manifest import LOCATION, MANIFEST, load
from suasion.shards.sample import Sample

PREDICTIONS, METRICS, SHARDS = "data/evaluate/predictions.parquet", "metrics.json", "data/shards"


class Run(NamedTuple):
    """What a run left: `name` as it was asked for, and the folder that holds its files."""

    name: str
    folder: Path
    predictions: pl.DataFrame  # of the released model
    metrics: dict[str, Any]


def read_run(name: str, aside: Path) -> Run:
    """The run `name`: a folder, else a git revision, whose files are brought to the folder `aside`.

    Raises:
        SuasionError: it is neither, or its outputs are not at hand.
    """
    if Path(name).is_dir():
        return _read(name, Path(name), do="run make repro there, or dvc checkout")
    revision = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if revision.returncode:
        raise SuasionError(
            f"no run {name!r}: it is neither a folder nor a git revision of this repository",
            where=str(Path.cwd()),
            do="name a folder with a run's outputs, or a commit, branch or tag: git log --oneline, git tag",
        )
    for path in (PREDICTIONS, METRICS):
        _fetch(name, revision.stdout.strip(), path, aside / path)
    return _read(name, aside, do="name another revision, or run it again with this version")


def _read(name: str, folder: Path, *, do: str) -> Run:
    for path in (PREDICTIONS, METRICS):
        if not (folder / path).is_file():
            raise SuasionError(f"run {name!r} has no {path}", where=str(folder.absolute()), do=do)
    released = read(folder / PREDICTIONS, PREDICTION).filter(pl.col("model") == "released")
    if released.is_empty():
        raise SuasionError(
            f"run {name!r} says nothing of a released model", where=str(folder.absolute() / PREDICTIONS), do=do
        )
    return Run(name, folder, released, json.loads((folder / METRICS).read_text(encoding="utf-8")))


def samples_of(run: Run, pair_ids: set[str]) -> dict[str, Sample]:
    """Of these pairs the ones that the run's shards have; none where the shards are not at hand."""
    from suasion.shards import ShardDataset

    shards = run.folder / SHARDS
    try:
        if not Path(run.name).is_dir():
            _fetch_shards(run.name, shards)
        found = {sample.pair["pair_id"]: sample for sample in ShardDataset(shards, EVALUATED)}
    except SuasionError:
        return {}
    return {name: sample for name, sample in found.items() if name in pair_ids}


def _fetch_shards(revision: str, target: Path) -> None:
    """Bring the manifest and the shards of the evaluated splits to `target`."""
    _fetch(revision, revision, f"{SHARDS}/{MANIFEST}", target / MANIFEST)
    shards = load((target / MANIFEST).read_bytes(), f"{revision}:{SHARDS}/{MANIFEST}")
    try:
        _fetch(revision, revision, f"{SHARDS}/{LOCATION}", target / LOCATION)
    except SuasionError:
        for shard in shards:
            if shard.split in EVALUATED:
                _fetch(revision, revision, f"{SHARDS}/{shard.name}", target / shard.name)


def _fetch(name: str, revision: str, path: str, target: Path) -> None:
    """Copy `path` of a revision, from git or from DVC's cache, to the file `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _files(revision).open(path, "rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except Exception as error:  # DVC, git and the storage of a remote have errors of every kind
        target.unlink(missing_ok=True)
        raise SuasionError(
            f"run {name!r} has no {path} at hand: {' '.join(str(error).split())[:200]}",
            where=f"revision {revision[:12]} of {Path.cwd()}: git, DVC's cache and its remote",
            do="dvc fetch it from where it ran, or check it out in a clone, make repro there, and name that folder",
        ) from None


@functools.cache
def _files(revision: str) -> Any:
    """What git and DVC know of a revision of this repository, as a file system."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(".", rev=revision)
