"""One run of the real DVC, watched from outside, and killed when the moment has come.

What a stage writes is seen from its open files and from what lies aside; it is looked up once more while everything is
stopped (SIGSTOP), right before SIGKILL, so that what is counted as killed while writing was.
"""

import bisect
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.crash.processes import freeze, open_for_writing, processes, send, thaw
from tests.workspace import dvc

OUTS = {"ingest": "data/ingest", "filter": "data/filter", "shard": "data/shards", "prescore": "data/prescore"}
STAGES = tuple(OUTS)
FINISHED = {"ingest": "*/parts/part-*", "shard": "*/*.tar.json"}
"""What a killed stage has done for good, below `.checkpoints/STAGE`, and need not do again."""

SCAN, TICK = 0.03, 0.0003
"""Seconds between two looks at all processes, and between two at what is written: the filter writes for some 7 ms."""

GONE_WITHIN = 30.0
"""Seconds until a stage must have ended after DVC was killed. It takes none; a busy machine may be slow to start Python."""


@dataclass(frozen=True)
class Kill:
    """A planned kill of `stage`: after a `share` of the files that it writes, of the time that it writes for, or of all the
    time that it and DVC's saving of its outputs take.
    """

    stage: str
    alone: bool  # dvc alone, else its whole process group
    of: Literal["files", "writing", "all"]
    share: float


@dataclass
class Times:
    """When a run saw a stage, in seconds since the run began; `over` when DVC had saved its outputs."""

    came: float
    over: float = 0.0
    steps: list[float] = field(
        default_factory=list
    )  # when it was first seen writing, with one file done, with two, ...
    wrote_last: float = 0.0

    @property
    def writes_for(self) -> float:
        return self.wrote_last - self.steps[0] if self.steps else 0.0


@dataclass
class Run:
    """What a run was seen doing, and what ended it."""

    times: dict[str, Times] = field(default_factory=dict)
    finished: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)  # the most that was seen of it
    code: int = 0
    kill: Kill | None = None  # null: it came to its end
    stage: str = ""  # the one that was hit
    wrote: list[str] = field(default_factory=list)  # what was being written when the kill came
    doing: str = ""
    gone_after: float = 0.0  # seconds


class Watch:
    """`dvc repro prescore` in `workspace`, its output appended to `log`; call `until` once."""

    def __init__(self, workspace: Path, log: Path) -> None:
        self.workspace, self.log = workspace, log
        self.began, self.started = time.time(), time.monotonic()
        with log.open("a") as output:
            self.dvc = dvc(workspace, "repro", "prescore", stdout=output, start_new_session=True)
        self.run = Run()
        self.stage = ""  # the one that runs, or whose outputs DVC is saving
        self.there: dict[int, str] = {}  # its processes

    def until(self, kills: list[Kill], usual: dict[str, Times]) -> Run:
        """Run until the first of `kills` whose moment comes, else to the end; a moment that has gone by is passed over.

        `usual` says how long the stages take; without it nothing is killed.
        """
        missed: list[Kill] = []
        scanned = 0.0
        while self.dvc.poll() is None:
            time.sleep(TICK)
            now = time.monotonic() - self.started
            if now - scanned > SCAN:
                self._scan(now)
                scanned = time.monotonic() - self.started
            elif self.there and self.stage in STAGES and (self.run.times[self.stage].steps or self._aside().exists()):
                self._step(now)
            armed = next((kill for kill in kills if kill.stage == self.stage and kill not in missed), None)
            if armed and self._due(armed, usual[self.stage], now) and not self._kill(armed):
                missed.append(armed)
        self.run.code = self.dvc.wait()
        return self.run

    def _scan(self, now: float) -> None:
        """Note which stage runs, whether it writes, and what it has finished."""
        self.there = processes(self.workspace, besides=self.dvc.pid)
        running = next((word for command in self.there.values() for word in command.split() if "stages." in word), "")
        if running and running.removeprefix("stages.") != self.stage:
            self.stage = running.removeprefix("stages.")
            self.run.times.setdefault(self.stage, Times(now))
        if self.stage not in STAGES:
            return
        self.run.times[self.stage].over = now
        if self.there and self._written():
            self._step(now)
            self.run.times[self.stage].wrote_last = now
        done = self._finished()
        if len(done) >= len(self.run.finished.get(self.stage, {})):
            self.run.finished[self.stage] = done

    def _step(self, now: float) -> None:
        """Note how far the stage, which writes, has come."""
        times = self.run.times[self.stage]
        done = len(self._checkpoints(FINISHED.get(self.stage, "-")))
        with contextlib.suppress(FileNotFoundError):
            done += min(len(os.listdir(self._aside())), 8)  # shards are linked there by the hundred, in no time
            times.wrote_last = now
        times.steps += [now] * (done + 1 - len(times.steps))

    def _due(self, kill: Kill, usual: Times, now: float) -> bool:
        """Whether it is time; how far the stage has come tells it, not the clock, which goes otherwise on a busy machine."""
        seen = self.run.times[self.stage]
        if kill.of == "all":
            return now >= seen.came + kill.share * (usual.over - usual.came)
        assert usual.steps, f"{kill.stage} was not seen writing in the undisturbed run"
        if kill.of == "files":
            step, rest = divmod(kill.share * len(usual.steps), 1)
            until = [*usual.steps, usual.wrote_last][int(step) + 1]
            delay = rest * (until - usual.steps[int(step)])
        else:
            moment = usual.steps[0] + kill.share * (usual.wrote_last - usual.steps[0])
            step = bisect.bisect_right(usual.steps, moment) - 1
            delay = moment - usual.steps[step]
        return len(seen.steps) > step and now >= seen.steps[int(step)] + delay

    def _kill(self, kill: Kill) -> bool:
        """Stop everything, look, and kill; false if none of the stages is at work any more, and all goes on."""
        frozen = freeze(self.workspace, [*self.there, self.dvc.pid])
        self._scan(time.monotonic() - self.started)
        wrote = self._written() if self.there else []
        if self.stage not in STAGES or self.dvc.poll() is not None:
            thaw(frozen)
            return False
        self.run.kill, self.run.stage, self.run.wrote = kill, self.stage, wrote
        self.run.doing = _doing(wrote, self.run.times[self.stage], self.there)
        self.run.finished[self.stage] = self._finished()
        said, now = self.log.stat().st_size, time.monotonic()
        if kill.alone:
            send(self.dvc.pid, signal.SIGKILL)
        else:
            os.killpg(self.dvc.pid, signal.SIGKILL)
        self.dvc.wait()
        thaw(frozen - {self.dvc.pid})
        self._require_end(now)
        self.run.gone_after = time.monotonic() - now
        more = self.log.read_bytes()[said:].decode()
        assert not any(line.startswith("[") for line in more.splitlines()), (
            f"a stage went on after DVC was killed, and said: {more}"
        )
        return True

    def _require_end(self, since: float) -> None:
        while left := processes(self.workspace):
            if time.monotonic() - since > GONE_WITHIN:
                for orphan in left:
                    send(orphan, signal.SIGKILL)
                raise AssertionError(f"still there {GONE_WITHIN} s after DVC was killed: {left}")
            time.sleep(0.002)

    def _aside(self) -> Path:
        out = self.workspace / OUTS.get(self.stage, "-")
        return out.with_name(f".{out.name}.tmp")

    def _written(self) -> list[str]:
        """Files that the stage's processes have open for writing, and what has been put aside since the run began."""
        files = {name for pid in self.there for name in open_for_writing(pid, self.workspace)}
        for path in [self._aside(), *self._checkpoints("**/*.tmp")]:
            try:
                if path.stat().st_ctime > self.began:
                    files.add(path.relative_to(self.workspace).as_posix())
            except OSError:  # it has got its name
                continue
        return sorted(files)

    def _finished(self) -> dict[str, tuple[int, int]]:
        """What the stage has done for good: names, with inode and time, which change when it is done again."""
        done = {}
        for path in self._checkpoints(FINISHED.get(self.stage, "-")):
            try:
                status = path.stat()
            except OSError:  # removed, since it is published
                continue
            done[path.name] = (status.st_ino, status.st_mtime_ns)
        return done

    def _checkpoints(self, pattern: str) -> list[Path]:
        try:
            return [*(self.workspace / ".checkpoints" / self.stage).glob(pattern)]
        except OSError:  # the stage is just removing it
            return []


def _doing(wrote: list[str], times: Times, there: dict[int, str]) -> str:
    if there and not wrote:
        return "between or after writes" if times.steps else "starting or reading"
    return "writing" if wrote else "DVC saving"
