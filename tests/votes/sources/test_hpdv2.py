import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.errors import SuasionError
from suasion.votes.sources import BadRow

PAIR = {"human_preference": [1, 0], "prompt": "a cat", "file_path": ["1.jpg", "2.jpg"]}
RANKING = {
    "prompt": "a dog",
    "image_path": ["x.jpg", "y.jpg", "z.jpg"],
    "rank": [1, 2, 3],
    "raw_annotations": [{"rank": [1, 2, 3], "user_hash": "anna"}, {"rank": [2, 1, 2], "user_hash": "bert"}],
}


def write(data: Path, name: str, *rows: Any) -> None:
    (data / "HPDv2").mkdir(exist_ok=True)
    (data / "HPDv2" / name).write_text(json.dumps(rows))


def winner(vote: Any) -> str:
    image = {"a": vote.image_a, "b": vote.image_b}.get(vote.choice)
    names = sorted(Path(one.name).name for one in (vote.image_a, vote.image_b))
    return f"{'/'.join(names)}: {Path(image.name).name if image else vote.choice}"


def test_training_pairs_are_one_hot(data: Path, read: Any, picture: Any) -> None:
    write(data, "train.json", PAIR, PAIR | {"human_preference": [0, 1]})
    (data / "HPDv2" / "train").mkdir()
    (data / "HPDv2" / "train" / "1.jpg").write_bytes(picture(0))
    votes = read("hpdv2", "HPDv2")
    assert [(vote.choice, vote.annotator_id, vote.source_split) for vote in votes] == [
        ("a", None, "train"),
        ("b", None, "train"),
    ]
    assert votes[0].image_a.read() == picture(0)


def test_every_person_of_the_test_set_votes_for_themselves(data: Path, read: Any) -> None:
    write(data, "test.json", RANKING)
    votes = read("hpdv2", "HPDv2")
    said = {voter: sorted(winner(vote) for vote in votes if vote.annotator_id == voter) for voter in ("anna", "bert")}
    assert said["anna"] == ["x.jpg/y.jpg: x.jpg", "x.jpg/z.jpg: x.jpg", "y.jpg/z.jpg: y.jpg"]
    assert said["bert"] == ["x.jpg/y.jpg: y.jpg", "x.jpg/z.jpg: tie", "y.jpg/z.jpg: y.jpg"]
    assert {vote.source_split for vote in votes} == {"test"}


@pytest.mark.parametrize("raw", [None, [], "gone"])
def test_without_raw_annotations_the_average_counts(data: Path, read: Any, raw: Any) -> None:
    write(data, "test.json", RANKING | {"raw_annotations": raw, "rank": [2, 1, 3]})
    votes = read("hpdv2", "HPDv2")
    assert sorted(winner(vote) for vote in votes) == ["x.jpg/y.jpg: y.jpg", "x.jpg/z.jpg: x.jpg", "y.jpg/z.jpg: y.jpg"]
    assert {vote.annotator_id for vote in votes} == {None}


def test_both_files_of_the_folder_are_read(data: Path, read: Any) -> None:
    write(data, "train.json", PAIR)
    write(data, "test.json", RANKING)
    assert [vote.source_split for vote in read("hpdv2", "HPDv2")] == ["test"] * 6 + ["train"]


def test_the_derived_table_of_single_judgements(data: Path, read: Any) -> None:
    columns = {"prompt": ["p", "p", "p"], "image_left_id": ["1.jpg"] * 3, "image_right_id": ["2.jpg"] * 3}
    columns |= {"user_id": [4, 5, 6], "pref": [1, -1, 0], "ranking_id": ["r", "r", "r"]}
    pq.write_table(pa.table(columns), data / "train-00000-of-00001.parquet")
    left, right, bad = read("hpdv2", "train-00000-of-00001.parquet")
    assert [(vote.choice, vote.annotator_id, vote.source_split) for vote in (left, right)] == [
        ("a", "4", "test"),
        ("b", "5", "test"),
    ]
    assert isinstance(bad, BadRow)
    assert bad.reason == "choice_unknown"


@pytest.mark.parametrize(
    "change",
    [
        {"human_preference": [1, 1]},
        {"human_preference": [1]},
        {"human_preference": None},
        {"file_path": ["1.jpg"]},
        {"file_path": "1.jpg"},
    ],
)
def test_a_malformed_pair_is_a_bad_row(data: Path, read: Any, change: dict[str, Any]) -> None:
    write(data, "train.json", PAIR, PAIR | change)
    assert read("hpdv2", "HPDv2")[1].reason == "ranking_malformed"


def test_a_malformed_ranking_is_one_bad_row(data: Path, read: Any) -> None:
    long = {"image_path": ["x.jpg"] * 5000, "rank": [1] * 5000, "raw_annotations": []}
    nan = {"raw_annotations": [{"rank": [1, float("nan"), 2], "user_hash": "anna"}]}
    write(data, "test.json", RANKING, RANKING | {"raw_annotations": [], "rank": [1, 2]}, RANKING | long, RANKING | nan)
    assert [row.reason for row in read("hpdv2", "HPDv2")[6:]] == ["ranking_malformed"] * 3


def test_columns_of_another_set_are_named(data: Path, read: Any) -> None:
    write(data, "train.json", {"prompt": "a cat", "file_path": ["1.jpg", "2.jpg"], "label": 1})
    with pytest.raises(SuasionError, match="human_preference"):
        read("hpdv2", "HPDv2")


def test_images_of_one_name_in_train_and_test_are_two(data: Path, read: Any, picture: Any, settings: Any) -> None:
    write(data, "train.json", PAIR)
    write(data, "test.json", RANKING | {"image_path": ["1.jpg", "2.jpg", "3.jpg"]})
    for number, folder in enumerate(("train", "test")):
        (data / "HPDv2" / folder).mkdir()
        (data / "HPDv2" / folder / "1.jpg").write_bytes(picture(number))
    images = {image.name: image for vote in read("hpdv2", "HPDv2") for image in (vote.image_a, vote.image_b)}
    assert images["train/1.jpg"].read() == picture(0)
    assert images["test/1.jpg"].read() == picture(1)
    before = settings("hpdv2", "HPDv2")
    (data / "HPDv2" / "test" / "1.jpg").write_bytes(picture(2))
    assert settings("hpdv2", "HPDv2").snapshot != before.snapshot
