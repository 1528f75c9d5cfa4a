"""Kill the pipeline at seeded random moments, run it again, and compare what it ends with to an undisturbed run.

    python -m tests.crash.sweep --kills 100 --seed 0        (make crash)

An undisturbed run comes first: it says how long each stage works and writes, and what the outputs have to be. Then rounds: a
round starts from a workspace in which only base, listener and the validations have run, is killed up to six times, and
runs to its end. Half of the kills hit DVC alone, half its whole process group. Nine of ten wait until the stage has written
a random share of its files, or for a random share of the time that it writes; whether it does write is looked up when the
kill comes. A kill whose stage is over is made up for in a later round. Given up: losing power, for which a disk would have
to be simulated.
"""

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stages.mend import mend
from tests.crash.processes import processes
from tests.crash.watch import OUTS, STAGES, Kill, Run, Times, Watch
from tests.workspace import clone, micro

PER_ROUND = 6
WHILE_WRITING = 0.6
"""Of the kills, at least."""


def plan(count: int, seed: int) -> list[Kill]:
    """`count` kills, evenly over stages, half of them of DVC alone, nine of ten once the stage writes."""
    rng = random.Random(seed)
    stages = [STAGES[number % len(STAGES)] for number in range(count)]
    alone = [number % 2 == 0 for number in range(count)]
    of = ["all" if number % 10 == 0 else ("files", "writing")[number % 2] for number in range(count)]
    for drawn in (stages, alone, of):
        rng.shuffle(drawn)
    return [Kill(*drawn, rng.random()) for drawn in zip(stages, alone, of, strict=True)]


def parameters() -> str:
    """Those of `tests/micro.yaml` with more votes, many small shards and two workers, so that stages write for a while."""
    params = yaml.safe_load(micro())
    params["ingest"]["sources"][0] |= {
        "pairs": {"train": 80, "val": 10, "test": 10, "ood": 10},
        "voters": 200,
        "votes_per_pair": 200,
    }
    params["base"]["reasoner"]["steps"] = 1
    params["listener"]["lessons"] = "none"
    params["threads"] = 2
    params["shard"]["samples_per_shard"] = 1
    params["prescore"]["batch_size"] = 64
    return yaml.safe_dump(params)


class Sweep:
    """A workspace with its undisturbed outcome; rounds of kills start from it and have to come to the same."""

    def __init__(self, folder: Path) -> None:
        self.workspace, self.log, self.kept = folder / "workspace", folder / "log", folder / "start"
        self.usual: dict[str, Times] = {}
        self.mended: list[str] = []
        clone(self.workspace, parameters())
        self.usual = self.run([]).times
        self.expected = outcome(self.workspace)
        _forget_stages(self.workspace)
        self.kept.mkdir()
        shutil.copyfile(self.workspace / "dvc.lock", self.kept / "dvc.lock")
        shutil.copytree(self.workspace / ".dvc" / "cache", self.kept / "cache")

    def run(self, kills: list[Kill]) -> Run:
        self.mended += mend(self.workspace)  # as `make repro` does
        found = Watch(self.workspace, self.log).until(kills, self.usual)
        assert found.kill or found.code == 0, self.log.read_text()[-3000:]
        return found

    def round(self, kills: list[Kill]) -> list[Run]:
        """Run from the start, killed by each of `kills` in turn, to the end, where all must be as in the undisturbed run."""
        self._reset()
        waiting = sorted(kills, key=lambda kill: STAGES.index(kill.stage))
        runs: list[Run] = []
        while not runs or runs[-1].kill:
            runs.append(self.run(waiting))
            if len(runs) > 1:
                _require_resumed(runs[-2], runs[-1])
            if killed := runs[-1].kill:
                waiting.remove(killed)
        found = outcome(self.workspace)
        other = sorted(name for name in found | self.expected if found.get(name) != self.expected.get(name))
        assert not other, f"not as in the undisturbed run: {other}"
        left = _left_over(self.workspace)
        assert not left, f"left behind after the last run: {left}"
        return runs

    def _reset(self) -> None:
        """As before the first run of the four stages: nothing of theirs in the workspace, in the cache or in dvc.lock."""
        for place in (*OUTS.values(), ".checkpoints", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(self.workspace / place, ignore_errors=True)
        shutil.copyfile(self.kept / "dvc.lock", self.workspace / "dvc.lock")
        shutil.copytree(self.kept / "cache", self.workspace / ".dvc" / "cache")


def _require_resumed(killed: Run, rerun: Run) -> None:
    """What a stage had finished before it was killed must be as it was when the next run has done more."""
    assert killed.kill is not None
    stage = killed.stage
    before, after = killed.finished.get(stage, {}), rerun.finished.get(stage, {})
    if not after:  # on a busy machine a stage may end between two looks at it, and take its checkpoints with it
        return
    lost = sorted(name for name, identity in before.items() if after.get(name) != identity)
    assert not lost, f"{stage} did again what it had finished before it was killed: {lost}"


def outcome(workspace: Path) -> dict[str, Any]:
    """sha256 of every file of the four stages' outputs, and what dvc.lock says of all outputs."""
    files = [path for out in OUTS.values() for path in sorted((workspace / out).rglob("*")) if path.is_file()]
    hashes = {str(path.relative_to(workspace)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    return hashes | {f"dvc.lock: {name}": stage["outs"] for name, stage in lock.items()}


def _left_over(workspace: Path) -> list[str]:
    """Processes, temporary files, work of stages that are done, and objects in the cache that are not what they should be."""
    left = [f"process {pid}: {command}" for pid, command in processes(workspace).items()]
    left += [str(path) for path in workspace.rglob("*.tmp")]
    left += [str(path) for path in (workspace / ".checkpoints").iterdir() if path.name != "locks"]
    for path in (workspace / ".dvc" / "cache" / "files" / "md5").rglob("*"):
        name = (path.parent.name + path.name).removesuffix(".dir")
        if path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() != name:
            left.append(f"in DVC's cache and not what its name says: {path}")
    return left


def _forget_stages(workspace: Path) -> None:
    """Remove the four stages from dvc.lock and from the run cache, and their outputs' objects from the cache."""
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    objects, runs = workspace / ".dvc" / "cache" / "files" / "md5", workspace / ".dvc" / "cache" / "runs"
    for name in STAGES:
        for out in lock["stages"].pop(name)["outs"]:
            listing = json.loads((objects / out["md5"][:2] / out["md5"][2:]).read_text())
            for entry in [*listing, out]:
                (objects / entry["md5"][:2] / entry["md5"][2:]).unlink(missing_ok=True)
    (workspace / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    for run in list(runs.glob("*/*/*")):
        if yaml.safe_load(run.read_text())["cmd"].removeprefix("exec python -m stages.") in STAGES:
            shutil.rmtree(run.parent)


def sweep(folder: Path, *, kills: int, seed: int) -> list[Run]:
    """Kill the pipeline `kills` times, in rounds; returns the runs that were killed.

    Raises:
        AssertionError: a round did not end as the undisturbed run, left something behind, or did finished work again.
    """
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)

    made = Sweep(folder)
    for stage in STAGES:
        times = made.usual[stage]
        tell(f"undisturbed: {stage} takes {times.over - times.came:.2f} s, writes for {times.writes_for:.3f} s")
    waiting, killed, rounds = plan(kills, seed), list[Run](), 0
    while waiting:
        now, waiting = waiting[:PER_ROUND], waiting[PER_ROUND:]
        if killed and _share_writing(killed) < WHILE_WRITING + 0.05:
            now = [replace(kill, share=kill.share / 2) for kill in now]  # a busy machine: many come too late
        runs = made.round(now)
        rounds += 1
        for run in runs:
            if run.kill:
                killed.append(run)
                tell(f"kill {len(killed)}/{kills}: {_said(run)}")
        done = [run.kill for run in runs]
        late = [kill for kill in now if kill not in done]
        waiting = [replace(kill, share=kill.share / 2) for kill in late] + waiting
        tell(f"round {rounds} ended as the undisturbed run{f'; {len(late)} kills came too late' if late else ''}")
    print(summary(killed, rounds, made.mended), flush=True)
    return killed


def _share_writing(killed: list[Run]) -> float:
    return sum(bool(run.wrote) for run in killed) / len(killed)


def _said(run: Run) -> str:
    assert run.kill is not None
    who = "dvc alone" if run.kill.alone else "whole group"
    files = f" {', '.join(run.wrote[:2])}{', ...' if len(run.wrote) > 2 else ''}" if run.wrote else ""
    finished = len(run.finished.get(run.stage, {}))
    return f"{run.stage}, {who}, {run.doing}{files}; {finished} finished; gone after {run.gone_after:.3f} s"


def summary(killed: list[Run], rounds: int, mended: list[str]) -> str:
    """The counts, as text."""
    kills = [(run, run.kill) for run in killed if run.kill]
    counts = {
        "by stage": Counter(run.stage for run, _ in kills),
        "by target": Counter("dvc alone" if kill.alone else "whole group" for _, kill in kills),
        "by what went on": Counter(run.doing for run, _ in kills),
        "while writing": Counter(run.stage for run, _ in kills if run.wrote),
        "gone on from finished work": Counter(run.stage for run, _ in kills if run.finished.get(run.stage)),
    }
    lines = [f"{len(kills)} kills in {rounds} rounds; every round ended with the hashes of the undisturbed run"]
    lines += [
        f"  {name}: {', '.join(f'{count} {key}' for key, count in found.most_common())}"
        for name, found in counts.items()
    ]
    lines += [f"  DVC's own files mended: {len(mended)} times"]
    slowest = max(run.gone_after for run, _ in kills)
    lines += [f"  orphans: 0; temporary files left: 0; all was gone after {slowest:.2f} s at most"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="suasion-crash-"))
    try:
        killed = sweep(folder, kills=given.kills, seed=given.seed)
        share = _share_writing(killed)
        assert share >= WHILE_WRITING, (
            f"{share:.0%} of the kills came while a stage was writing; {WHILE_WRITING:.0%} are needed"
        )
    except AssertionError as error:
        sys.exit(f"error: {error}\n  workspace and log are kept: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
