"""The short version of the crash sweep; the long one is `make crash`."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.processes import freeze, open_for_writing, processes, thaw
from tests.crash.sweep import STAGES, plan, sweep

SEED = 20
"""Its six kills hit every stage."""


@pytest.mark.timeout(900)  # a minute; a busy machine takes longer
def test_killed_six_times_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Outputs, processes, temporary files, and whether finished work is kept, are checked by the sweep itself."""
    assert {kill.stage for kill in plan(6, SEED)} == set(STAGES)
    killed = sweep(tmp_path, kills=6, seed=SEED)
    assert len(killed) == 6
    assert sum(run.kill.alone for run in killed if run.kill) == 3
    assert any(run.wrote for run in killed)
    assert any(run.finished.get(run.stage) for run in killed), "a run went on from what was finished"


def test_a_plan_is_even_and_the_same_for_the_same_seed() -> None:
    kills = plan(100, 1)
    assert kills == plan(100, 1) != plan(100, 2)
    assert Counter(kill.stage for kill in kills) == dict.fromkeys(STAGES, 25)
    assert sum(kill.alone for kill in kills) == 50
    assert sum(kill.of != "all" for kill in kills) == 90
    assert len({kill.share for kill in kills}) == 100


def test_what_is_open_for_writing_is_seen_and_a_frozen_process_does_nothing(tmp_path: Path) -> None:
    code = (
        "import time, pathlib; pathlib.Path('read').touch(); r = open('read'); w = open('written', 'w');"
        "\nwhile True: print('x', file=w, flush=True); time.sleep(0.001)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as process:
        try:
            while open_for_writing(process.pid, tmp_path) != ["written"]:
                time.sleep(0.005)
            assert list(processes(tmp_path)) == [process.pid]
            frozen = freeze(tmp_path, [])
            size = os.path.getsize(tmp_path / "written")
            time.sleep(0.05)
            assert os.path.getsize(tmp_path / "written") == size
            thaw(frozen)
            while os.path.getsize(tmp_path / "written") == size:
                time.sleep(0.005)
        finally:
            process.kill()
    assert processes(tmp_path) == {}
