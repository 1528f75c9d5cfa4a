"""`dvc.yaml`: a stage depends on every file of the library that it imports, so that no change of code goes unnoticed."""

import ast
from pathlib import Path

import pytest
import yaml

from suasion.params import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PLUMBING = {
    f"suasion/{name}.py"
    for name in ("__init__", "errors", "params", "params_errors", "progress", "records", "stage", "storage")
} | {"suasion/training/log.py", *(f"suasion/s3/{name}.py" for name in ("client", "errors", "transfer"))}
"""What all stages share. It carries parameters, tables and bars around, and decides nothing that a stage computes."""

NOT_REACHED = {
    "warmstart": {
        *("suasion/listener/local.py", "suasion/listener/study.py"),
        *("suasion/vlm/images.py", "suasion/vlm/prefix.py"),
    }
}
"""Imported inside a function that the stage does not call: only the listener's cold start studies a listener."""


def imported(path: Path, found: set[Path]) -> set[Path]:
    """Files of the library that `path` imports, directly or through others, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            file = ROOT / (name.replace(".", "/") + ".py")
            if name.startswith("suasion.") and file.is_file() and file not in found:
                found.add(file)
                imported(file, found)
    return found


@pytest.mark.parametrize("name", STAGES)
def test_no_shell_stands_between_dvc_and_a_stage(name: str) -> None:
    assert STAGES[name]["cmd"].startswith("exec python -m stages.")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_that_it_imports(name: str) -> None:
    script = next(dep for dep in STAGES[name]["deps"] if dep.startswith("stages/"))
    used = {file.relative_to(ROOT).as_posix() for file in imported(ROOT / script, set())}
    used -= PLUMBING | NOT_REACHED.get(name, set())
    missing = {file for file in used if not any(Path(file).is_relative_to(dep) for dep in STAGES[name]["deps"])}
    assert not missing
