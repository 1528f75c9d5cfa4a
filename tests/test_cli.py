import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "trl", "polars", "prefect", "great_expectations", "matplotlib", "datasets")


def suasion(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "suasion"), *arguments]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def test_help_loads_nothing_heavy() -> None:
    code = f"import suasion.cli, sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    assert "compare" in suasion("--help").stdout


def test_help_answers_at_once() -> None:
    suasion("--help")  # once, so that the files are in memory
    started = time.monotonic()
    said = suasion("--help").stdout
    assert time.monotonic() - started < 0.5
    assert all(name in said for name in ("compare", "report", "profile", "snapshot"))


def test_only_the_validation_stage_imports_great_expectations() -> None:
    root = Path(__file__).parent.parent
    importing = [
        path.relative_to(root).as_posix()
        for folder in ("suasion", "stages", "flows")
        for path in (root / folder).rglob("*.py")
        if "import great_expectations" in path.read_text() or "from great_expectations" in path.read_text()
    ]
    assert importing == ["stages/validate.py"]


@pytest.mark.parametrize("option", ["--model", "--prompt"])
def test_what_is_missing_is_named(option: str) -> None:
    arguments = {"--model": "m", "--prompt": "p"}
    del arguments[option]
    done = suasion("compare", *(part for pair in arguments.items() for part in pair), "a.png", "b.png")
    assert done.returncode == 2
    assert option in done.stderr


def test_a_missing_model_is_a_message_without_a_traceback() -> None:
    done = suasion("compare", "--model", "nowhere", "--prompt", "p", "a.png", "b.png")
    assert done.returncode == 1
    assert "error: no model folder nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "nowhere.csv", "--name", "mine"), "no votes file at"),
        (("profile", "nowhere.csv", "--name", "No Name"), "the name 'No Name'"),
        (("profile", "nowhere.csv", "--name", "avt"), "profiles/avt.yaml exists"),
        (("report", "nowhere", "tests"), "no run 'nowhere'"),
        (("report", "tests", "nowhere"), "run 'tests' has no data/evaluate/predictions.parquet"),
        (("snapshot", "profiles/nowhere.yaml"), "no parameter file nowhere.yaml"),
    ],
)
def test_a_mistake_is_a_message_without_a_traceback(arguments: tuple[str, ...], message: str) -> None:
    done = suasion(*arguments)
    assert done.returncode == 1
    assert f"error: {message}" in done.stderr
    assert "Traceback" not in done.stderr
