import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suasion import stage
from suasion.errors import SuasionError
from suasion.params import ROOT
from suasion.stage import checkpoint_folder, publish, require_disk

BODY = """
import sys, time
from pathlib import Path
from suasion.stage import publish, stage

with stage("test"), publish(Path("out")) as out:
    out.mkdir()
    (out / "part").write_text("new")
    Path("started").touch()
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "profiles" / "world.yaml").read_text())
    (tmp_path / "body.py").write_text(BODY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "whole").write_text("old")
    return tmp_path


def run(workspace: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "body.py", str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=workspace, env=environment, text=True, stderr=subprocess.PIPE)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def require_end(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the stage went on after its parent was killed")


def test_a_finished_stage_replaces_its_output(workspace: Path) -> None:
    assert run(workspace, 0).wait() == 0
    assert [path.name for path in (workspace / "out").iterdir()] == ["part"]


def test_killed_in_the_middle_the_former_output_is_there_and_the_next_run_tidies_up(workspace: Path) -> None:
    process = run(workspace, 60)
    wait_for(workspace / "started")
    process.kill()
    process.wait()
    assert [path.name for path in (workspace / "out").iterdir()] == ["whole"]
    assert run(workspace, 0).wait() == 0
    assert sorted(path.name for path in workspace.iterdir() if "out" in path.name) == ["out"]


def test_killed_while_it_removes_its_checkpoints_it_does_not_find_a_part_of_them(workspace: Path) -> None:
    checkpoints, aside = workspace / ".checkpoints" / "test", workspace / ".checkpoints" / ".test.tmp"
    for _ in range(20):
        for number in range(4000):
            (checkpoints / f"{number % 40}").mkdir(parents=True, exist_ok=True)
            (checkpoints / f"{number % 40}" / f"{number}").touch()
        process = run(workspace, 0)
        with contextlib.suppress(FileNotFoundError):  # moved aside just now
            while process.poll() is None and len(os.listdir(checkpoints)) == 40:
                pass
        process.kill()
        process.wait()
        assert not checkpoints.exists()
        if aside.exists():
            break
    assert aside.exists(), "killed in the middle at least once"
    assert run(workspace, 0).wait() == 0
    assert not aside.exists()


def test_two_runs_of_one_stage_are_refused_by_the_pid(workspace: Path) -> None:
    first = run(workspace, 60)
    wait_for(workspace / "started")
    second = run(workspace, 0)
    _, error = second.communicate()
    first.kill()
    first.wait()
    assert second.returncode == 1
    assert f"stage test is running already, as process {first.pid}" in error
    assert "Traceback" not in error


def test_a_stage_ends_with_its_parent(workspace: Path) -> None:
    """kill -9 of what started it (as DVC starts stages) must not leave it writing."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; p = subprocess.Popen([sys.executable, 'body.py', '60']); "
            "open('pid', 'w').write(str(p.pid)); p.wait()",
        ],
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    wait_for(workspace / "started")
    child = int((workspace / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    require_end(child)


def test_a_stage_whose_dvc_ends_while_python_is_starting_does_not_start(workspace: Path) -> None:
    """The parent is gone before the stage can ask for anything: its new one is not of DVC's process group."""
    slow = "import time, pathlib\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n" + BODY
    (workspace / "body.py").write_text(slow)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys; p = subprocess.Popen([sys.executable, 'body.py', '0']); "
            "open('pid.tmp', 'w').write(str(p.pid)); import os; os.rename('pid.tmp', 'pid'); p.wait()",
        ],
        cwd=workspace,
        env=os.environ | {"PYTHONPATH": str(ROOT), "DVC_STAGE": "test"},
        start_new_session=True,
    )
    wait_for(workspace / "pid")
    child = int((workspace / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    (workspace / "go").touch()
    require_end(child)
    assert not (workspace / "started").exists()
    assert [path.name for path in (workspace / "out").iterdir()] == ["whole"]


def test_a_users_mistake_is_a_message_without_a_traceback(workspace: Path) -> None:
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("seed: 7", "sead: 7"))
    process = run(workspace, 0)
    _, error = process.communicate()
    assert process.returncode == 1
    assert "unknown key sead = 7" in error or "key seed is missing" in error
    assert "dvc checkout" in error
    assert "Traceback" not in error


def test_a_failing_body_leaves_the_former_output_and_nothing_aside(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")

    class Failed(Exception):
        pass

    with pytest.raises(Failed), publish(target) as out:
        out.write_text("half")
        raise Failed
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_too_little_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match=r"1000000000\.0 GB are needed"):
        require_disk(tmp_path / "not" / "there", 10**18)


@pytest.mark.parametrize("change", ["settings", "content", "name", "stage", "code"])
def test_any_change_of_what_goes_in_gives_another_folder(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, data = tmp_path / "code", tmp_path / "data"
    code.mkdir()
    data.mkdir()
    (code / "lessons.py").write_text("1")
    monkeypatch.setattr(stage, "CODE", code)
    (data / "x").write_text("1")
    before = checkpoint_folder("train", {"lr": 1}, [data])
    assert checkpoint_folder("train", {"lr": 1}, [data]) == before
    if change == "content":
        (data / "x").write_text("2")
    if change == "code":
        (code / "lessons.py").write_text("2")
    if change == "name":
        (data / "x").rename(data / "y")
    settings = {"lr": 2} if change == "settings" else {"lr": 1}
    assert checkpoint_folder("sft" if change == "stage" else "train", settings, [data]) != before
