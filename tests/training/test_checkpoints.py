from pathlib import Path
from types import SimpleNamespace

from suasion.training.checkpoints import MARKER, MarkComplete, last_complete


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
