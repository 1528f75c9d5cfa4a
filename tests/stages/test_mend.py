"""What DVC leaves when it is killed in a bad moment: the real DVC refuses to start, is mended, and starts."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.mend import mend
from tests.workspace import dvc, run

STAGE = f"stages:\n  copy:\n    cmd: {sys.executable} work.py\n    deps: [in, work.py]\n    outs: [out]\n"
BODY = "import shutil\nshutil.copyfile('in', 'out')\nopen('runs', 'a').write('x')\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("whole")
    for name, content in (("dvc.yaml", STAGE), ("in", "1"), ("work.py", BODY)):
        (project / name).write_text(content)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    run(project, "init", "-q")
    run(project, "repro", "-q")
    return project


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    """A project whose one stage has run, with nothing committed."""
    return shutil.copytree(whole, tmp_path / "project")


def cut(name: str, before: bytes) -> Callable[[Path], None]:
    """Cut at what stands there, not at a share of the length: that depends on where this project's Python is."""

    def damage(project: Path) -> None:
        content = (project / name).read_bytes()
        (project / name).write_bytes(content[: content.index(before)])

    return damage


def half_a_run(project: Path) -> None:
    """The folder of the run is there, and what goes into it is half written or not there at all."""
    for entry in [*(project / ".dvc" / "cache" / "runs").glob("*/*/*")]:
        entry.with_name(".half.tmp").write_bytes(entry.read_bytes()[:50])
        entry.unlink()
    (project / "dvc.lock").unlink()


def no_run(project: Path) -> None:
    half_a_run(project)
    for entry in [*(project / ".dvc" / "cache" / "runs").glob("*/*/.*.tmp")]:
        entry.unlink()


@pytest.mark.parametrize(
    ("damage", "refused", "runs"),
    [
        (cut("dvc.lock", b""), True, 1),
        (cut("dvc.lock", b": md5"), True, 1),
        (cut(".dvc/tmp/rwlock", b"}"), True, 1),
        (half_a_run, False, 2),
        (no_run, True, 2),
    ],
)
def test_dvc_starts_again_and_finds_what_was_done(
    project: Path, damage: Callable[[Path], None], refused: bool, runs: int
) -> None:
    damage(project)
    if refused:
        assert dvc(project, "repro", "-q").wait() != 0
    assert len(mend(project)) == 1
    assert not mend(project), "nothing is left to do"
    run(project, "repro", "-q")
    assert (project / "out").read_text() == "1"
    assert len((project / "runs").read_text()) == runs


def test_a_lock_cut_where_it_still_reads_costs_no_work(project: Path) -> None:
    cut("dvc.lock", b" work.py")(project)
    assert not mend(project)
    run(project, "repro", "-q")
    assert (project / "runs").read_text() == "x", "DVC found it in its run cache"


def test_the_commits_lock_takes_the_place_of_one_that_is_cut_off(project: Path) -> None:
    whole = (project / "dvc.lock").read_bytes()
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    cut("dvc.lock", b": md5")(project)
    assert "last commit" in mend(project)[0]
    assert (project / "dvc.lock").read_bytes() == whole


def test_copies_that_were_not_finished_are_removed_and_objects_stay(project: Path) -> None:
    cached = project / ".dvc" / "cache" / "files" / "md5"
    objects = [path for path in cached.rglob("*") if path.is_file()]
    (objects[0].parent / ".half.tmp").write_text("half")
    assert mend(project) == ["1 copies that DVC had not finished are removed from its cache"]
    assert [path for path in cached.rglob("*") if path.is_file()] == objects


def test_nothing_is_touched_while_dvc_is_at_work(project: Path) -> None:
    cut("dvc.lock", b": md5")(project)
    before = (project / "dvc.lock").read_bytes()
    with (project / ".dvc" / "tmp" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert mend(project) == []
    assert (project / "dvc.lock").read_bytes() == before
    assert mend(project)


def test_a_project_without_anything_of_dvc_is_left_alone(tmp_path: Path) -> None:
    assert mend(tmp_path) == []
