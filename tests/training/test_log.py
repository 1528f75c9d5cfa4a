from pathlib import Path

from suasion.training.log import write_log


def test_rows_without_a_logged_value_are_left_out(tmp_path: Path) -> None:
    history = [
        {"step": 1, "loss": 0.123456789, "kl": float("nan")},
        {"step": 2, "loss": 2.0, "kl": 0.5, "other": 9.0},
        {"step": 2, "train_runtime": 12.5},
    ]
    write_log(history, tmp_path / "log.csv", {"loss": "loss", "divergence": "kl"})
    assert (tmp_path / "log.csv").read_text() == "step,loss,divergence\n1,0.123457,\n2,2,0.5\n"
