"""All public sources at once: rows of any content come out as votes or bad rows, and everything goes through ingest."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
