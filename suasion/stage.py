"""What every stage does around its work: read the parameters, say where it is, publish its outputs whole or not at all.

DVC does not end a stage's process when it is killed itself, and two runs of one stage would write to one folder. So a
stage asks the kernel to die with its parent, and holds a lock that names its process. Given up: protection on systems
other than Linux, where the parent-death signal does not exist.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from suasion.errors import SuasionError
from suasion.params import Params, load_params

LOCKS = Path(".checkpoints/locks")
MIN_FREE = 1_000_000_000  # bytes on the disk before a stage starts
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def stage(name: str) -> Iterator[Params]:
    """Run a stage's body: header and duration are printed, a `SuasionError` ends the process with its message.

    The number of threads is set before anything heavy is imported, so stages import inside the body.
    """
    started = time.monotonic()
    try:
        _die_with_parent()
        params = load_params()
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
            os.environ[variable] = str(params.threads)
        require_disk(Path("data"), MIN_FREE)
        with _locked(name):
            print(f"[{name}] started", flush=True)
            yield params
            print(f"[{name}] done in {time.monotonic() - started:.0f} s", flush=True)
    except SuasionError as error:
        print(f"error: {error}", file=sys.stderr)
        print("  earlier outputs: dvc checkout brings those of the last whole run back", file=sys.stderr)
        raise SystemExit(1) from None


@contextlib.contextmanager
def publish(target: Path) -> Iterator[Path]:
    """Yield a path aside to write a file or folder to; on success it takes the place of `target` by a rename.

    What a killed run left aside is removed first; what a failed one wrote is removed at once.
    """
    aside = target.with_name(f".{target.name}.tmp")
    _remove(aside)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        _fsync_all(aside)
        _remove(target)
        aside.rename(target)
        _fsync(target.parent)
    finally:
        _remove(aside)


def require_disk(folder: Path, needed: int) -> None:
    """Refuse to start what would not fit.

    Raises:
        SuasionError: fewer than `needed` bytes are free where `folder` is, or will be.
    """
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SuasionError(
            f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free",
            where=str(folder.absolute()),
            do="make room there; `dvc gc --workspace` removes what no current output needs",
        )


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / name).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SuasionError(
                f"stage {name} is running already, as process {lock.read().strip() or 'unknown'}",
                where=str(Path.cwd()),
                do="wait for it, or end it",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync_all(path: Path) -> None:
    for entry in [*path.rglob("*"), path]:
        _fsync(entry)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
