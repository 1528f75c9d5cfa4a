from pathlib import Path
from types import SimpleNamespace

import pytest

from suasion.training import checkpoints
from suasion.training.checkpoints import MARKER, MarkComplete, checkpoint_folder, last_complete


def save(folder: Path, step: int) -> None:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * step)


def mark(folder: Path, step: int) -> None:
    MarkComplete().on_save(SimpleNamespace(output_dir=str(folder)), SimpleNamespace(global_step=step), None)


def test_an_incomplete_checkpoint_is_deleted_and_the_one_before_it_used(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save(tmp_path, step)
    mark(tmp_path, 5)
    save(tmp_path, 20)
    mark(tmp_path, 20)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-20"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-5"]


def test_without_a_complete_one_there_is_none(tmp_path: Path) -> None:
    assert last_complete(tmp_path) is None
    save(tmp_path, 3)
    assert last_complete(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 11, 100):
        save(tmp_path, step)
        mark(tmp_path, step)
    assert sorted(path.parent.name for path in tmp_path.glob(f"*/{MARKER}")) == ["checkpoint-100", "checkpoint-11"]


@pytest.mark.parametrize("change", ["settings", "content", "name", "stage", "code"])
def test_any_change_of_what_goes_in_gives_another_folder(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, data = tmp_path / "code", tmp_path / "data"
    code.mkdir()
    data.mkdir()
    (code / "lessons.py").write_text("1")
    monkeypatch.setattr(checkpoints, "CODE", code)
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
