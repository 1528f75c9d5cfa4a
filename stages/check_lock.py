"""Does `dvc.lock` match `dvc.yaml`, `params.yaml` and the code? Needs no data: what DVC tracks is compared by its locks.

CI runs it: whoever changes code or parameters that a stage depends on has to run the pipeline and commit the lock.
"""

import sys
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from suasion.errors import SuasionError, cli_errors


@cli_errors
def main() -> None:
    stale = find_stale(Path.cwd())
    if stale:
        raise SuasionError(
            "dvc.lock is not what dvc.yaml, params.yaml and the code make of it:\n  " + "\n  ".join(stale),
            where="dvc.lock",
            do="make repro, then commit dvc.lock, metrics.json and what else changed",
        )
    print("dvc.lock matches dvc.yaml, params.yaml and the code")


def find_stale(root: Path) -> list[str]:
    """One line per difference, stage by stage."""
    pipeline, lock = _load(root / "dvc.yaml"), _load(root / "dvc.lock")
    locked = lock.get("stages", {})
    made = {entry["path"]: entry["md5"] for stage in locked.values() for entry in stage.get("outs", [])}
    with Repo(str(root)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
    stale = [f"{name}: in dvc.lock, not in dvc.yaml" for name in locked if name not in pipeline["stages"]]
    for name, stage in pipeline["stages"].items():
        if name not in locked:
            stale.append(f"{name}: never run")
            continue
        if locked[name]["cmd"] != stage["cmd"]:
            stale.append(f"{name}: its command changed")
        stale += [f"{name}: {line}" for line in _stale_deps(stages[name], locked[name], made)]
    return stale


def _stale_deps(stage: Any, locked: dict[str, Any], made: dict[str, str]) -> list[str]:
    stale = []
    known = {entry["path"]: entry["md5"] for entry in locked.get("deps", [])}
    for dep in stage.deps:
        path = dep.def_path
        if hasattr(dep, "params"):  # a parameter file
            values = dep.read_params()
            wanted = locked.get("params", {}).get(path, {})
            stale += [f"parameter {key} changed" for key in values if wanted.get(key, ...) != values[key]]
        elif path not in known:
            stale.append(f"{path} is a new dependency")
        elif path.startswith("data/") or path == "metrics.json":
            if path in made and made[path] != known[path]:
                stale.append(f"{path} was made anew since")
        elif _hash(dep) != known[path]:
            stale.append(f"{path} changed")
    return stale


def _hash(dep: Any) -> str:
    dep.save()
    value: str = dep.hash_info.value
    return value


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SuasionError(f"no {path.name}", where=str(path), do="make repro writes it")
    content: dict[str, Any] = YAML(typ="safe").load(path.read_text())  # 1.2, as DVC reads it: 5e-05 is a number
    return content


if __name__ == "__main__":
    sys.exit(main())
