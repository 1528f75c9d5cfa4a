"""A real Ray cluster: a head without CPUs, and two machines (on this one) of a CPU each, of which one is killed."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from suasion.engine import RETRIES, _Actor, _actors, run
from suasion.errors import SuasionError
from suasion.params import ROOT, Params, load_params

UNITS = 10


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """The head of a cluster that misses a machine after three seconds; usual are fifteen."""
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500}
    with (
        tempfile.TemporaryDirectory(prefix="cluster-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": soon})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def cluster(head: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster with two machines, whatever was killed before."""
    for node in [node for node in head.worker_nodes if not node.remaining_processes_alive()]:
        head.remove_node(node, allow_graceful=False)
    while len(head.worker_nodes) < 2:
        head.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", head.address)
    return head


class Noted:
    """The work that `build` makes, and a file for every unit that is done, named by the process that did it."""

    def __init__(self, build: Callable[[], Callable[[Any], Iterable[Any]]], notes: Path) -> None:
        self.work, self.notes = build(), notes

    def __call__(self, unit: Any) -> Iterator[Any]:
        yield from list(self.work(unit))
        (self.notes / f"{os.getpid()}-{time.monotonic_ns()}").touch()


class Fails:
    """Returns its units; what it does at 'bad' and 'deadly' is in their names."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def __call__(self, unit: int | str) -> Iterator[int | str]:
        (self.notes / f"{unit}-{time.monotonic_ns()}").touch()
        if unit == "bad":
            raise SuasionError("a bad unit", where="here", do="mend it")
        if unit == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        yield unit


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def models(tmp_path: Path, processor: Any, talker: Any, tiny_model: Callable[..., Any]) -> Path:
    """A folder with a reasoner and a listener."""
    from suasion.vlm.load import save

    save(talker, processor, tmp_path / "reasoner")
    save(tiny_model(), processor, tmp_path / "listener")
    return tmp_path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three pairs in each of `UNITS` shards."""
    from suasion.images.pack import PackedImages
    from suasion.shards.writer import write_shards
    from tests.shards.pairs import SETTINGS, make_pairs

    pairs = make_pairs(tmp_path / "images", train=3 * UNITS)
    write_shards(pairs, PackedImages(tmp_path / "images"), {}, SETTINGS, tmp_path / "shards")
    return tmp_path / "shards"


def params(engine: str) -> Params:
    """Those of the default profile; a shard makes two batches, and samples of two shards never share one."""
    content = load_params(ROOT / "profiles" / "world.yaml").model_dump(by_alias=True)
    content["prescore"] = {"engine": engine, "batch_size": 2}
    content["evaluate"] |= {"engine": engine, "batch_size": 3 * 2}
    content["threads"] = 1
    return Params.model_validate(content)


def kill_first(notes: Path, victim: Callable[[int], int]) -> threading.Thread:
    """SIGKILL for `victim` of the first process that has done a unit, once it has."""

    def watch() -> None:
        while not (done := list(notes.iterdir())):
            time.sleep(0.01)
        assert len(done) < UNITS / 2
        os.kill(victim(int(done[0].name.split("-")[0])), signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_prescoring_loses_nothing_when_a_worker_is_killed(
    cluster: Any, models: Path, shards: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suasion.listener import prescore as module
    from suasion.shards import ShardDataset

    def score(engine: str) -> Any:
        return module.prescore(ShardDataset(shards, "train"), models / "listener", params=params(engine))

    here = score("local")
    assert here["pair_id"].to_list() == [sample.pair["pair_id"] for sample in ShardDataset(shards, "train")]
    original = module._Prior
    monkeypatch.setattr(
        module, "_Prior", lambda *args, **kwargs: Noted(functools.partial(original, *args, **kwargs), notes)
    )
    killer = kill_first(notes, lambda worker: worker)
    there = score("ray")
    killer.join()
    assert there.equals(here)
    assert len({note.name.split("-")[0] for note in notes.iterdir()}) == 3, "two workers, and one in place of the dead"


def test_evaluation_loses_nothing_when_a_machine_is_killed(
    cluster: Any, models: Path, shards: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suasion.evaluation import predict as module
    from suasion.shards import ShardDataset

    samples = [*ShardDataset(shards, "train")]

    def ask(engine: str) -> Any:
        listeners = {"listener": models / "listener", "warmstart": models / "reasoner"}
        return module.predict(models / "reasoner", listeners, samples, name="released", params=params(engine))

    here = ask("local")
    assert here[0].height == 2 * len(samples)
    original = module._Exam
    monkeypatch.setattr(
        module, "_Exam", lambda *args, **kwargs: Noted(functools.partial(original, *args, **kwargs), notes)
    )
    killer = kill_first(notes, lambda worker: psutil.Process(worker).ppid())
    there = ask("ray")
    killer.join()
    assert all(one.equals(other) for one, other in zip(there, here, strict=True))
    assert len({note.name.split("-")[0] for note in notes.iterdir()}) == 3, (
        "the dead one's actor moved to the other machine"
    )
    assert sum(node.remaining_processes_alive() for node in cluster.worker_nodes) == 1


def test_an_error_of_ours_is_raised_once_and_as_it_is(cluster: Any, notes: Path) -> None:
    found, former = [], set(threading.enumerate())
    with pytest.raises(SuasionError) as caught:
        for unit in run(functools.partial(Fails, notes), [0, 1, 2, "bad", 3, 4], engine="ray", threads=1):
            found.append(unit)
    assert found == [0, 1, 2]
    left = {thread.name for thread in set(threading.enumerate()) - former}
    assert left <= {"Prefetcher"}, "a thread that asks Ray for something after its end would end this process too"
    assert (caught.value.what, caught.value.where, caught.value.do) == ("a bad unit", "here", "mend it")
    assert len(list(notes.glob("bad-*"))) == 1


@pytest.mark.slow
def test_a_unit_that_kills_its_workers_is_given_up(cluster: Any, notes: Path) -> None:
    with pytest.raises(SuasionError, match=f"actors died {RETRIES + 1} times at the same work"):
        list(run(functools.partial(Fails, notes), [0, "deadly"], engine="ray", threads=1))
    assert len(list(notes.glob("deadly-*"))) == RETRIES + 1


@pytest.mark.slow
def test_without_an_address_this_machine_is_a_cluster_that_leaves_nothing(tmp_path: Path, notes: Path) -> None:
    """Twice in one process, as evaluation has several models."""
    code = (
        "import functools, pathlib\n"
        "from suasion.engine import run\n"
        "from tests.test_engine import Fails\n"
        "fails = functools.partial(Fails, pathlib.Path('notes').absolute())\n"
        "for _ in range(2):\n"
        "    found = run(fails, [*range(6)], engine='ray', threads=1)\n"
        "    assert next(found) == 0\n"
        "    assert len([*pathlib.Path('/tmp').glob('ray-*')]) == FORMER + 1\n"
        "    assert [*found] == [1, 2, 3, 4, 5]\n"
        "    assert len([*pathlib.Path('/tmp').glob('ray-*')]) == FORMER\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    former = len(list(Path("/tmp").glob("ray-*")))
    code = code.replace("FORMER", str(former))
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert said.stdout == b""
    assert not (tmp_path / ".ray").exists()


def test_an_address_where_nothing_is_answers_with_one_error(monkeypatch: pytest.MonkeyPatch, notes: Path) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(SuasionError, match="no Ray cluster") as caught:
        list(run(functools.partial(Fails, notes), [0], engine="ray", threads=1))
    assert caught.value.where == "RAY_ADDRESS=nowhere"


def test_a_machine_without_the_project_is_named(tmp_path: Path, notes: Path) -> None:
    import pickle

    actor = _Actor(functools.partial(Fails, notes), tmp_path / "missing", 1)
    error = pickle.loads(actor({"number": 0, "unit": pickle.dumps(0)})["results"])
    assert "cannot enter the project's folder: No such file" in error.what


def test_there_is_an_actor_per_gpu_or_else_per_so_many_cpus() -> None:
    def node(alive: bool = True, **resources: float) -> dict[str, Any]:
        return {"Alive": alive, "Resources": resources}

    assert _actors([node(CPU=64, GPU=8), node(CPU=64, GPU=4), node(CPU=64)], 16) == (12, {"num_gpus": 1})
    assert _actors([node(CPU=7), node(CPU=8), node(CPU=8, alive=False), node()], 4) == (3, {"num_cpus": 4})
    with pytest.raises(SuasionError, match="no machine of the cluster has 16 CPUs"):
        _actors([node(CPU=8), node(CPU=8)], 16)


def test_nothing_to_do_starts_nothing_and_scoring_here_does_not_import_ray() -> None:
    code = (
        "import sys, suasion.listener.prescore, suasion.evaluation.predict as p\n"
        "from suasion.engine import run\n"
        "assert [*run(lambda: str, [1, 23], engine='local', threads=1)] == ['1', '2', '3']\n"
        "assert [*run(lambda: str, [], engine='ray', threads=1)] == []\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
