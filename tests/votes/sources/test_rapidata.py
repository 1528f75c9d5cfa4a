import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.errors import SuasionError
from suasion.votes.sources import BadRow

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COUNTS = pa.schema(
    [
        ("prompt", pa.string()),
        ("image1", IMAGE),
        ("image2", IMAGE),
        ("votes_image1", pa.int64()),
        ("votes_image2", pa.int64()),
        ("model1", pa.string()),
        ("model2", pa.string()),
        ("detailed_results", pa.string()),
        ("image1_path", pa.string()),
        ("image2_path", pa.string()),
    ]
)
TEXTS = ("id", "images", "model1", "model2", "evolution", "category", "subcategory", "preference_responses")
RESULTS = pa.schema(
    [("prompt", pa.string()), ("image1", IMAGE), ("image2", IMAGE)]
    + [(name, pa.string()) for name in (*TEXTS, "aggregated_results", "detailed_results")]
)
SHARES = pa.schema(
    [
        ("prompt", pa.string()),
        ("image1", IMAGE),
        ("image2", IMAGE),
        ("model1", pa.string()),
        ("model2", pa.string()),
        ("weighted_results_image1_preference", pa.float32()),
        ("weighted_results_image2_preference", pa.float32()),
        ("detailed_results_preference", pa.string()),
    ]
)


def record(file: str, score: float | None = None, *, nested: bool = False) -> dict[str, Any]:
    """One person's vote as the published records have it."""
    if score is None:
        return {"votedFor": file}
    scores = {"userScores": {"global": score}} if nested else {"userScore": score}
    return {"votedFor": file, "userDetails": {"country": "IN", "language": "en", **scores}}


@pytest.fixture
def votes(data: Path, read: Any, picture: Any) -> Any:
    """What the source makes of rows of a layout with these values."""

    def votes(schema: pa.Schema, *changes: dict[str, Any], paths: tuple[Any, Any] = (None, None)) -> Any:
        images = {f"image{n + 1}": {"bytes": picture(n), "path": paths[n]} for n in range(2)}
        row = {"prompt": "a cat", "model1": "flux", "model2": "sd3", **images}
        (data / "rapidata" / "data").mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([row | change for change in changes], schema)
        pq.write_table(table, data / "rapidata" / "data" / "train_0001-00000-of-00001.parquet")
        return read("rapidata", "rapidata")

    return votes


def said(votes: Any) -> list[tuple[str, int, float]]:
    return [(vote.choice, vote.count, vote.weight) for vote in votes]


def test_counts_per_side(votes: Any, picture: Any) -> None:
    found = votes(COUNTS, {"votes_image1": 17, "votes_image2": 9}, {"votes_image1": 0, "votes_image2": 26})
    assert said(found) == [("a", 17, 1.0), ("b", 9, 1.0), ("b", 26, 1.0)]
    first = found[0]
    assert (first.prompt, first.model_a, first.model_b, first.annotator_id) == ("a cat", "flux", "sd3", None)
    assert first.source_split is None
    assert (first.image_a.read(), first.image_b.read()) == (picture(0), picture(1))


def test_records_are_votes_weighed_by_trust(votes: Any) -> None:
    paths = {"image1_path": "flux/155_0.jpg", "image2_path": "sd3/155_0.jpg", "votes_image1": 2, "votes_image2": 1}
    people = [record("sd3/155_0.jpg", 0.78), record("flux/155_0.jpg", 0.3), record("flux/155_0.jpg")]
    found = votes(
        COUNTS,
        {**paths, "detailed_results": json.dumps({"votes": people, "metadata": {}})},
        paths | {"votes_image1": 5},
    )
    assert said(found) == [("b", 1, 0.78), ("a", 1, 0.3), ("a", 1, 1.0), ("a", 5, 1.0), ("b", 1, 1.0)]


@pytest.mark.parametrize("score", [-1, 7, "much"])
def test_a_trust_that_is_none_is_no_trust(votes: Any, score: Any) -> None:
    row = {"votes_image1": 1, "votes_image2": 0, "detailed_results": json.dumps([record("1.jpg", score)])}
    assert said(votes(COUNTS, row | {"image1_path": "1.jpg", "image2_path": "2.jpg"})) == [("a", 1, 0.0)]


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        "null",
        "[]",
        "[1]",
        '[{"votedFor": 3}]',
        '[{"votedFor": "another.jpg"}]',
        "[" * 20000,
        '{"votes": {}}',
    ],
)
def test_records_that_tell_no_side_fall_back_to_the_counts(votes: Any, text: str) -> None:
    row = {
        "votes_image1": 3,
        "votes_image2": 1,
        "detailed_results": text,
        "image1_path": "1.jpg",
        "image2_path": "2.jpg",
    }
    assert said(votes(COUNTS, row)) == [("a", 3, 1.0), ("b", 1, 1.0)]


@pytest.mark.parametrize("counts", [(None, None), (-3, 4), (0, 0), (2**40, 1)])
def test_neither_records_nor_counts_is_a_bad_row(votes: Any, counts: tuple[Any, Any]) -> None:
    bad, good = votes(
        COUNTS, {"votes_image1": counts[0], "votes_image2": counts[1]}, {"votes_image1": 1, "votes_image2": 0}
    )
    assert isinstance(bad, BadRow)
    assert bad.reason == "no_votes"
    assert good.choice == "a"


def test_results_as_texts_with_the_images_paths(votes: Any) -> None:
    people = [record("x.jpg", 0.5), record("y.jpg", 0.6), record("y.jpg", 0.4)]
    rows = [
        {"detailed_results": json.dumps(people), "aggregated_results": "{}"},
        {"detailed_results": "", "aggregated_results": json.dumps({"y.jpg": 7, "x.jpg": 3})},
        {"detailed_results": "", "aggregated_results": json.dumps({"image1": 7, "image2": 3})},
    ]
    found = votes(RESULTS, *rows, paths=("x.jpg", "y.jpg"))
    assert said(found[:5]) == [("a", 1, 0.5), ("b", 1, 0.6), ("b", 1, 0.4), ("a", 3, 1.0), ("b", 7, 1.0)]
    assert [row.reason for row in found[5:]] == ["no_votes"]


@pytest.mark.parametrize(
    ("first", "second", "models"),
    [("flux_3_0.jpg", "sd3_3_1.jpg", ("flux", "sd3")), ("1.jpg", "2.jpg", ("flux", "sd3"))],
    ids=["by model", "by shares"],
)
def test_the_side_is_told_by_the_model_or_by_the_shares(votes: Any, first: str, second: str, models: Any) -> None:
    people = [record(second, 0.6, nested=True), record(first, 0.2, nested=True), record(second, 0.4, nested=True)]
    shares = {"weighted_results_image1_preference": 1 / 6, "weighted_results_image2_preference": 5 / 6}
    row = shares | {"detailed_results_preference": json.dumps(people), "model1": models[0], "model2": models[1]}
    assert said(votes(SHARES, row)) == [("b", 1, 0.6), ("a", 1, 0.2), ("b", 1, 0.4)]


@pytest.mark.parametrize(("first", "choice"), [(0.7, "a"), (0.2, "b"), (0.5, "tie")])
def test_shares_alone_are_one_judgement(votes: Any, first: float, choice: str) -> None:
    row = {"weighted_results_image1_preference": first, "weighted_results_image2_preference": 1 - first}
    assert said(votes(SHARES, row | {"detailed_results_preference": "{}"})) == [(choice, 1, 1.0)]


def test_shares_that_are_no_numbers_are_bad_rows(votes: Any) -> None:
    row = {"weighted_results_image1_preference": float("nan"), "weighted_results_image2_preference": 0.5}
    assert [bad.reason for bad in votes(SHARES, row)] == ["no_votes"]


def test_other_columns_are_an_error_that_says_that_the_schema_is_not_verified(data: Path, read: Any) -> None:
    pq.write_table(pa.table({"prompt": ["a cat"], "image": [b""], "alignment_score": [0.5]}), data / "rich.parquet")
    with pytest.raises(SuasionError, match="alignment_score") as caught:
        read("rapidata", "rich.parquet")
    assert "verified" in str(caught.value)
