"""Where scoring runs: in this process, or with Ray Data on all devices of a cluster; the results are the same, bit by bit.

Work is cut into units before anything runs, and a unit alone decides which batches it forms: what is computed does not depend
on how many compute it. With `ray` there is one actor per GPU, or one per `threads` CPUs where no machine has a GPU; each loads
its models once. An actor that dies, alone or with its machine, is started again where there is room, and what it had not
finished is done again. Given up: actors on machines that join later; keeping finished units when this process is killed.
"""

import contextlib
import logging
import os
import pickle
import secrets
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from suasion.errors import SuasionError
from suasion.params import Engine

Unit = TypeVar("Unit")
Result = TypeVar("Result")

IN_FLIGHT = 2
"""Units that an actor is given at a time: the next one waits beside it, so that it need not wait for us."""

LEFT_RUNNING = 60
"""Seconds that a thread of Ray Data has, after the last result or an error, to come to its end."""

RETRIES = 3
"""How often a unit is done again because its actor died; then it is taken for what kills it."""


def run(
    build: Callable[[], Callable[[Unit], Iterable[Result]]],
    units: Sequence[Unit],
    *,
    engine: Engine,
    threads: int,
) -> Iterator[Result]:
    """All results of all units, in the order of the units.

    Args:
        build: makes what does the work, models loaded; called once in every process that works. `ray` pickles it, as it does
            units and results.
        threads: of torch in each actor; those of this process are as they are.

    Raises:
        SuasionError: what the work raised, the same with both engines. With `ray` also: no cluster at RAY_ADDRESS, none with
            room for an actor, or a unit at which actors die.
    """
    if engine == "ray":
        yield from _on_cluster(build, units, threads)
        return
    work = build()
    for unit in units:
        yield from work(unit)


def device() -> Any:
    """The `torch.device` that models of this process belong on: its GPU, if it has one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _on_cluster(build: Callable[[], Any], units: Sequence[Any], threads: int) -> Iterator[Any]:
    if not units:
        return
    with _cluster(threads) as ray, contextlib.closing(_rows(ray, build, units, threads)) as rows:
        finished: dict[int, Any] = {}
        following = 0
        for row in rows:
            finished[row["number"]] = pickle.loads(row["results"])
            while following in finished:
                results = finished.pop(following)
                if isinstance(results, SuasionError):
                    raise results
                yield from results
                following += 1


def _rows(
    ray: Any, build: Callable[[], Any], units: Sequence[Any], threads: int
) -> Generator[dict[str, Any], None, None]:
    """What actors return, as it comes. Ray would keep the order, but hold back work while the first unit is done again."""
    count, needs = _actors(ray.nodes(), threads)
    rows = [{"number": number, "unit": pickle.dumps(unit)} for number, unit in enumerate(units)]
    with warnings.catch_warnings(action="ignore"):  # restarts and retries have to be named otherwise from Ray 2.64 on
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(build, Path.cwd(), threads),
            compute=ray.data.ActorPoolStrategy(size=min(count, len(rows)), max_tasks_in_flight_per_actor=IN_FLIGHT),
            max_restarts=-1,
            max_task_retries=RETRIES,
            **needs,
        )
    try:
        yield from done.iter_rows()
    except ray.exceptions.RayActorError as error:
        raise SuasionError(
            f"actors died {RETRIES + 1} times at the same work: {str(error).splitlines()[0]}",
            where="engine: ray",
            do="see whether the kernel ended them for want of memory (dmesg); a smaller batch_size takes less",
        ) from None


class _Actor:
    """Does units in a process of its own; what it needs is loaded with the first."""

    def __init__(self, build: Callable[[], Any], folder: Path, threads: int) -> None:
        self.build, self.folder, self.threads = build, folder, threads
        self.work: Any = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            self.work = self.work or self._start()
            results: Any = list(self.work(pickle.loads(row["unit"])))
        except SuasionError as error:
            results = error  # as a value, which Ray neither tries again nor wraps in errors of its own
        return {"number": row["number"], "results": pickle.dumps(results)}

    def _start(self) -> Any:
        import torch

        torch.set_num_threads(self.threads)  # sums of floats depend on it
        try:
            os.chdir(self.folder)  # paths mean what they mean where the stage was started
        except OSError as error:
            raise SuasionError(
                f"{socket.gethostname()} cannot enter the project's folder: {error.strerror}",
                where=str(self.folder),
                do="share the folder with all machines of the cluster, under the same path: docs/scaling.md",
            ) from None
        return self.build()


@contextlib.contextmanager
def _cluster(threads: int) -> Iterator[Any]:
    """Ray, connected to RAY_ADDRESS, or to a cluster of this machine alone, which ends with this context."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what its C++ warns of is about its own internals
    import ray
    import ray.data

    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        if address:
            try:
                ray.init(address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise SuasionError(
                    f"no Ray cluster to work with: {str(error).splitlines()[0]}",
                    where=f"RAY_ADDRESS={address}",
                    do="start it, with the same RAY_AUTH_MODE and token (docs/scaling.md); or unset RAY_ADDRESS",
                ) from None
        else:
            # Sockets lie in it, and a socket's path has 107 characters at most: TMPDIR may be too long.
            scratch = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
            folder = stack.enter_context(scratch)
            if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray would leave the token that it asks for in the home folder
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            cpus = max(threads, os.cpu_count() or 1)
            ray.init("local", num_cpus=cpus, include_dashboard=False, _temp_dir=folder, **quiet)
        stack.callback(ray.shutdown)
        stack.callback(_join, former=set(threading.enumerate()))
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray


def _join(former: set[threading.Thread]) -> None:
    """Waits for what Ray Data left running: what asks Ray for anything after its shutdown ends the process, without a word."""
    for thread in set(threading.enumerate()) - former:
        if thread.name != "Prefetcher":  # waits for ever to be told something, and asks nothing
            thread.join(LEFT_RUNNING)


def _actors(nodes: Sequence[dict[str, Any]], threads: int) -> tuple[int, dict[str, int]]:
    """How many actors the machines hold, and what each needs."""
    rooms = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = sum(int(room.get("GPU", 0)) for room in rooms)
    if gpus:
        return gpus, {"num_gpus": 1}
    count = sum(int(room.get("CPU", 0)) // threads for room in rooms)
    if not count:
        raise SuasionError(
            f"no machine of the cluster has {threads} CPUs for Ray to use",
            where="threads in params.yaml",
            do="choose fewer threads, or start Ray on larger machines",
        )
    return count, {"num_cpus": threads}
