"""What every stage does around its work: read the parameters, say where it is, publish its outputs whole or not at all.

DVC does not end a stage's process when it is killed itself, and two runs of one stage would write to one folder. So a
stage asks the kernel to die with its parent, and holds a lock that names its process. Given up: protection on systems
other than Linux, where the parent-death signal does not exist.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from suasion.errors import SuasionError
from suasion.params import Params, load_params

CHECKPOINTS = Path(".checkpoints")
LOCKS = CHECKPOINTS / "locks"
CODE = Path(__file__).parent
MIN_FREE = 1_000_000_000  # bytes on the disk before a stage starts
PARENT = "SUASION_PARENT"
"""Environment variable of the processes that a stage starts: the stage's own process."""
_PR_SET_PDEATHSIG = 1
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # The libraries' own bars last a blink each; a stage shows one bar of its own.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def quiet_libraries() -> None:
    """Keep from the screen what libraries tell each other, and not the user."""
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno > logging.WARNING)  # that there is no GPU


@contextlib.contextmanager
def stage(name: str) -> Iterator[Params]:
    """Run a stage's body: header and duration are printed, a `SuasionError` ends the process with its message.

    The number of threads is set before anything heavy is imported, so stages import inside the body.
    """
    started = time.monotonic()
    try:
        die_with_parent()
        params = load_params()
        os.environ.update(dict.fromkeys(_THREADS, str(params.threads)))
        os.environ.update({key: os.environ.get(key, value) for key, value in _QUIET.items()})
        quiet_libraries()
        require_disk(Path("data"), MIN_FREE)
        with _locked(name), _full_disk_explained():
            print(f"[{name}] started", flush=True)
            _forget_checkpoints(name)
            yield params
            if (CHECKPOINTS / name).exists():  # what they were for is published
                (CHECKPOINTS / name).rename(CHECKPOINTS / f".{name}.tmp")
                _forget_checkpoints(name)
            print(f"[{name}] done in {time.monotonic() - started:.0f} s", flush=True)
    except SuasionError as error:
        print(f"error: {error}", file=sys.stderr)
        print("  earlier outputs: dvc checkout brings those of the last whole run back", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(
            f"[{name}] interrupted; ingestion and training go on from what is done when it is run again",
            file=sys.stderr,
        )
        raise SystemExit(128 + signal.SIGINT) from None


@contextlib.contextmanager
def publish(target: Path) -> Iterator[Path]:
    """Yield a path aside to write a file or folder to; on success it takes the place of `target` by a rename.

    A reader finds the former output or the new one, whole. A folder cannot take another's place in one step: killed
    between the two renames, the former one stands aside and is put back by the next run. What a killed run left aside is
    removed first; what a failed one wrote is removed at once.
    """
    aside, former = target.with_name(f".{target.name}.tmp"), target.with_name(f".{target.name}.former.tmp")
    _remove(aside)
    if former.exists() and not target.exists():
        former.rename(target)
    _remove(former)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        _fsync_all(aside)
        if target.is_dir() and not target.is_symlink():
            target.rename(former)
        elif aside.is_dir():
            _remove(target)
        aside.replace(target)
        fsync(target.parent)
    finally:
        _remove(aside)
        if target.exists():
            _remove(former)


def checkpoint_folder(stage: str, settings: Any, inputs: Iterable[Path]) -> Path:
    """`.checkpoints/STAGE/<hash of settings, of every input file and of our code>`: nothing stale is ever resumed.

    `settings` is anything that json.dumps takes; `inputs` are files, or folders with all that is in them.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in sorted(CODE.rglob("*.py")):
        digest.update(source.read_bytes())
    for entry in inputs:
        for file in sorted(path for path in [entry, *entry.rglob("*")] if path.is_file()):
            digest.update(f"{file.relative_to(entry.parent)}\0".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return CHECKPOINTS / stage / digest.hexdigest()[:16]


def require_disk(folder: Path, needed: int) -> None:
    """Refuse to start what would not fit: fewer than `needed` bytes free where `folder` is, or will be.

    Raises:
        SuasionError: names what is needed and what is free.
    """
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SuasionError(
            f"{_size(needed)} are needed and {_size(free)} are free",
            where=str(folder.absolute()),
            do="make room there; `dvc gc --workspace` removes what no current output needs",
        )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the process that started it ends, however that ends.

    A stage whose DVC ended while Python was still starting has a new parent already, and ends here: DVC and its stages are
    of one process group, and whoever takes in orphans is of another. A process that a stage starts knows it by `PARENT`.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            if PARENT in os.environ:
                orphan = parent != int(os.environ[PARENT])
            else:
                orphan = "DVC_STAGE" in os.environ and os.getpgid(parent) != os.getpgrp()
        except ProcessLookupError:
            orphan = True
        if orphan or os.getppid() != parent:  # it ended before the kernel knew
            os.kill(os.getpid(), signal.SIGKILL)


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


def _forget_checkpoints(name: str) -> None:
    """Remove those that were renamed for it: a stage killed while it removes them in place would go on from a part of them."""
    shutil.rmtree(CHECKPOINTS / f".{name}.tmp", ignore_errors=True)


@contextlib.contextmanager
def _full_disk_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SuasionError(
            f"the disk is full: {error.strerror}, {_size(shutil.disk_usage(Path.cwd()).free)} are free",
            where=str(error.filename or Path.cwd()),
            do="make room there; `dvc gc --workspace` removes what no current output needs",
        ) from None


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync_all(path: Path) -> None:
    for entry in [*path.rglob("*"), path]:
        fsync(entry)


def fsync(path: Path) -> None:
    """Wait until the file or folder `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
