"""All public sources at once: rows of any content come out as votes or bad rows, and everything goes through ingest."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from suasion.params import Ingest
from suasion.records import DROP, VOTE
from suasion.records import read as read_table
from suasion.votes.ingest import ingest
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources import _published as published

COLUMNS: dict[str, list[tuple[str, ...]]] = {
    "genai_bench": [("prompt", "left_model", "left_image", "right_model", "right_image", "vote_type")],
    "hpdv2": [
        ("prompt", "file_path", "human_preference"),
        ("prompt", "image_path", "rank", "raw_annotations"),
        ("prompt", "image_left_id", "image_right_id", "pref", "user_id"),
    ],
    "hpdv3": [("prompt", "path1", "path2", "model1", "model2", "choice_dist", "confidence")],
    "imagereward": [
        ("prompt_id", "prompt", "image_path", "rank"),
        ("prompt_id", "prompt", "image", "rank", "image_amount_in_total"),
        ("id", "prompt", "generations", "ranking"),
    ],
    "mmrb2": [("pair_id", "prompt_text", "response_a_images", "response_b_images", "chosen", "human_annotations")],
    "pickapic": [("caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label", "user_id", "created_at", "model_0")],
    "rapidata": [
        ("prompt", "image1", "image2", "votes_image1", "votes_image2", "detailed_results", "image1_path", "model1"),
        ("prompt", "image1", "image2", "aggregated_results", "detailed_results"),
        (
            "prompt",
            "image1",
            "image2",
            "weighted_results_image1_preference",
            "weighted_results_image2_preference",
            "detailed_results_preference",
        ),
    ],
    "visionprefer": [("prompt", "images", "rank")],
}
LAYOUTS = [(name, columns) for name, layouts in COLUMNS.items() for columns in layouts]

texts = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["a", "A", "1.jpg", "../x", "\0", "x://y", "votes", "\ud800", "1e999"]
)
leaves = st.none() | st.booleans() | st.integers() | st.integers(-2, 3) | st.floats() | st.just(10**400) | texts
keys = texts | st.sampled_from(["votes", "votedFor", "userDetails", "userScore", "rank", "user_hash", "bytes", "path"])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))
# what most columns hold, so that rows get beyond the first check
likely = st.lists(st.integers(0, 3), min_size=2, max_size=2) | st.lists(texts, min_size=2, max_size=2)


@pytest.mark.parametrize(("name", "columns"), LAYOUTS, ids=[f"{name} {columns[-1]}" for name, columns in LAYOUTS])
@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_any_row_is_votes_or_bad_rows(
    name: str, columns: tuple[str, ...], data: Path, read: Any, drawn: st.DataObject
) -> None:
    json_texts = values.map(json.dumps)
    row = st.fixed_dictionaries(dict.fromkeys(columns, values | likely | json_texts))
    rows = drawn.draw(st.lists(row, min_size=1, max_size=6))
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(name, "train.jsonl")
    assert all(isinstance(one, RawVote | BadRow) for one in found)
    assert {one.row.partition("#")[0] for one in found} <= {
        f"train.jsonl:{number}" for number in range(1, len(rows) + 1)
    }
    for one in found:
        if isinstance(one, BadRow):
            assert one.reason
            assert len(one.detail) < 300
            continue
        for image in (one.image_a, one.image_b):
            with pytest.raises(OSError):  # noqa: PT011  # nothing that a row names is here
                image.read()
        for value in (one.row, one.prompt, one.choice, one.annotator_id, one.model_a, one.model_b, one.image_a.name):
            assert value is None or value.encode("utf-8") is not None
        assert isinstance(one.count, int)
        assert 0 < one.count <= published.MAX_COUNT
        assert 0 <= one.weight <= 1


PAIRED = {"prompt": "a cat", "image1": "1.png", "image2": "2.png", "votes_image1": 3, "votes_image2": 1}
GOOD: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "genai_bench": ("image_generation/test.jsonl", [{"prompt": "a cat", "vote_type": "bothbad_vote"}]),
    "hpdv2": ("train.json", [{"prompt": "a cat", "file_path": ["1.png", "2.png"], "human_preference": [0, 1]}]),
    "hpdv3": ("train.json", [{"prompt": "a cat", "path1": "1.png", "path2": "2.png", "choice_dist": [5, 2]}]),
    "imagereward": (
        "test.json",
        [{"id": "1", "prompt": "a cat", "generations": ["1.png", "2.png"], "ranking": [1, 1]}],
    ),
    "mmrb2": ("t2i/test.jsonl", [{"pair_id": "1", "prompt_text": "a cat", "chosen": "b"}]),
    "pickapic": ("data/train.jsonl", [{"caption": "a cat", "label_0": 1.0, "label_1": 0.0, "user_id": 5}]),
    "rapidata": ("data/train_0001.jsonl", [PAIRED]),
    "visionprefer": ("train.jsonl", [{"prompt": "a cat", "images": ["1.png", "2.png"], "rank": [2, 1]}]),
}
SIDES = {
    "genai_bench": {"left_image": "1.png", "right_image": "2.png", "left_model": "x", "right_model": "y"},
    "mmrb2": {"response_a_images": ["1.png"], "response_b_images": ["2.png"]},
    "pickapic": {"jpg_0": "1.png", "jpg_1": "2.png"},
}


def test_every_source_goes_through_ingest(data: Path, settings: Any, picture: Any) -> None:
    for name, (file, rows) in GOOD.items():
        path = data / name / file
        path.parent.mkdir(parents=True)
        rows = [row | SIDES.get(name, {}) for row in rows]
        bad = [{**dict.fromkeys(rows[0]), "id": "nothing else"}]
        path.write_text(json.dumps(rows + bad) if file.endswith(".json") else "\n".join(map(json.dumps, rows + bad)))
        for number in (1, 2):
            (path.parent / f"{number}.png").write_bytes(picture(number))
    sources = [settings(name, name) for name in GOOD]
    wanted = Ingest(sources=sources, evaluation_sets=[], max_megapixels=1.0, min_side=16)
    summary = ingest(wanted, data / "out", seed=0)
    votes, drops = read_table(data / "out" / "votes.parquet", VOTE), read_table(data / "out" / "drops.parquet", DROP)
    said = {name: votes.filter(source=name).select("choice", "count").sort("choice").rows() for name in GOOD}
    assert said["genai_bench"] == [("both_bad", 1)]
    assert said["imagereward"] == [("tie", 1)]
    assert said["pickapic"] == [("a", 1)]
    assert {count for _, count in said["hpdv3"]} == {5, 2}
    assert said["rapidata"] == [("a", 3), ("b", 1)]
    assert all(said.values())
    dropped = {row_id.partition(":")[0] for row_id in drops["id"]}
    assert dropped == {*GOOD}  # one bad row each
    assert summary["images"] == 2
    assert summary["rows"] == summary["votes"] + summary["dropped"] == 18


def test_folders_of_a_data_set_on_another_storage(read: Any, picture: Any) -> None:
    storage = fsspec.filesystem("memory")
    row = {"prompt": "a cat", "file_path": ["1.png", "../../secret.png"], "human_preference": [1, 0]}
    storage.pipe("/published/HPDv2/train.json", json.dumps([row]).encode())
    storage.pipe("/published/HPDv2/train/1.png", picture(1))
    storage.pipe("/published/secret.png", picture(2))
    (vote,) = read("hpdv2", "memory://published/HPDv2")
    assert vote.image_a.read() == picture(1)
    with pytest.raises(FileNotFoundError):
        vote.image_b.read()


def test_values_that_are_not_what_they_should_be_are_none() -> None:
    nan, inf = float("nan"), float("inf")
    assert [published.votes(value) for value in (3, 3.0, True, -1, 2.5, nan, inf, "3", None, 10**400)] == [
        3,
        3,
        *[None] * 8,
    ]
    assert [published.share(value) for value in (0.5, 1, True, -0.1, nan, inf, "1", 10**400)] == [0.5, 1.0, *[None] * 6]
    assert [published.numbers(value) for value in ([1, 2.5], [nan], [True], "12", [10**400])] == [
        [1.0, 2.5],
        *[None] * 4,
    ]
    assert [published.name(value) for value in (7, " anna ", True, "", "  ", [], 1.5)] == ["7", "anna", *[None] * 5]


def test_json_texts_that_would_hurt_are_none() -> None:
    bombs = ["[" * 100_000, '{"a":' * 50_000, "1" * 5000, "[" + "0," * 600_000 + "0]", "{", "", None, 3, b"[]"]
    assert [published.parsed(bomb) for bomb in bombs] == [None] * len(bombs)
    assert published.parsed('{"votes": [1]}') == {"votes": [1]}
    assert published.parsed([1]) == [1]


@pytest.mark.parametrize(
    ("row", "split"),
    [
        ("train.json:1", "train"),
        ("a/metadata-validation.parquet:12", "val"),
        ("test_unique-00000-of-00001.parquet:3", "test"),
        ("pretraining.json:1", None),
        ("latest.json:1", None),
        ("train/votes.json:1", None),
    ],
)
def test_a_split_is_a_word_of_the_files_name(row: str, split: str | None) -> None:
    assert published.split_of(row) == split
