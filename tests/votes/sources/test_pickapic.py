from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.votes.sources import BadRow

SCHEMA = pa.schema(
    [
        ("are_different", pa.bool_()),
        ("best_image_uid", pa.string()),
        ("caption", pa.string()),
        ("created_at", pa.timestamp("ns")),
        ("has_label", pa.bool_()),
        ("image_0_uid", pa.string()),
        ("image_0_url", pa.string()),
        ("image_1_uid", pa.string()),
        ("image_1_url", pa.string()),
        ("jpg_0", pa.binary()),
        ("jpg_1", pa.binary()),
        ("label_0", pa.float64()),
        ("label_1", pa.float64()),
        ("model_0", pa.string()),
        ("model_1", pa.string()),
        ("ranking_id", pa.int64()),
        ("user_id", pa.int64()),
        ("num_example_per_prompt", pa.int64()),
        ("__index_level_0__", pa.int64()),
    ]
)


def write(folder: Path, name: str, picture: Any, *changes: dict[str, Any]) -> None:
    row = {
        "are_different": True,
        "caption": "a cat",
        "created_at": datetime(2023, 2, 3, 4, 5, 6),
        "has_label": True,
        "jpg_0": picture(0),
        "jpg_1": picture(1),
        "label_0": 1.0,
        "label_1": 0.0,
        "model_0": "dreamlike",
        "model_1": "sdxl",
        "ranking_id": 5,
        "user_id": 1234,
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row | change for change in changes], SCHEMA), folder / name)


@pytest.mark.parametrize(
    ("label_0", "label_1", "choice"), [(1.0, 0.0, "a"), (0.0, 1.0, "b"), (0.5, 0.5, "tie"), (0.0, 0.0, "tie")]
)
def test_labels_are_floats(data: Path, picture: Any, read: Any, label_0: float, label_1: float, choice: str) -> None:
    write(
        data / "pickapic_v2" / "data", "train-00000-of-00645.parquet", picture, {"label_0": label_0, "label_1": label_1}
    )
    (vote,) = read("pickapic", "pickapic_v2")
    assert (vote.choice, vote.annotator_id, vote.voted_at) == (choice, "1234", datetime(2023, 2, 3, 4, 5, 6))
    assert (vote.prompt, vote.model_a, vote.model_b, vote.source_split) == ("a cat", "dreamlike", "sdxl", "train")
    assert (vote.image_a.read(), vote.image_b.read()) == (picture(0), picture(1))


@pytest.mark.parametrize(
    ("name", "split"), [("validation", "val"), ("test_unique", "test"), ("validation_unique", "val")]
)
def test_the_split_is_the_files(data: Path, picture: Any, read: Any, name: str, split: str) -> None:
    write(data / "pickapic", f"{name}-00000-of-00001.parquet", picture, {})
    assert [vote.source_split for vote in read("pickapic", "pickapic")] == [split]


def test_rows_without_a_label_are_bad_rows(data: Path, picture: Any, read: Any) -> None:
    nan = float("nan")
    changes = [{"has_label": False, "label_0": 0.5, "label_1": 0.5}, {"label_0": nan}, {"label_0": 0.7, "label_1": 0.3}]
    write(data / "p", "train.parquet", picture, *changes, {"label_0": None, "label_1": None}, {})
    found = read("pickapic", "p")
    assert [row.reason for row in found if isinstance(row, BadRow)] == ["no_label", *["choice_unknown"] * 3]
    assert found[-1].choice == "a"


def test_two_times_the_same_image_is_left_to_the_filter(data: Path, picture: Any, read: Any) -> None:
    change = {"are_different": False, "jpg_1": picture(0), "label_0": 0.5, "label_1": 0.5}
    write(data / "p", "train.parquet", picture, change)
    (vote,) = read("pickapic", "p")
    assert vote.image_a.read() == vote.image_b.read()
    assert vote.choice == "tie"
