import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.votes.sources import BadRow

IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt_text", pa.string()),
        ("prompt_images", IMAGES),
        ("response_a_text", pa.string()),
        ("response_a_images", IMAGES),
        ("response_b_text", pa.string()),
        ("response_b_images", IMAGES),
        ("chosen", pa.string()),
        ("prompt_source", pa.string()),
        ("response_a_model", pa.string()),
        ("response_b_model", pa.string()),
        ("human_annotations", pa.string()),
        ("prompt_metadata", pa.string()),
    ]
)


@pytest.fixture
def votes(data: Path, read: Any, picture: Any) -> Any:
    """What the source makes of rows with these changes."""

    def votes(*changes: dict[str, Any]) -> Any:
        row = {
            "pair_id": "t2i_1",
            "prompt_text": "a cat",
            "prompt_images": [],
            "response_a_images": [{"bytes": picture(0), "path": None}],
            "response_b_images": [{"bytes": picture(1), "path": None}],
            "chosen": "A",
            "response_a_model": "one",
            "response_b_model": "two",
        }
        (data / "MMRB2" / "t2i").mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([row | change for change in changes], SCHEMA)
        pq.write_table(table, data / "MMRB2" / "t2i" / "test-00000-of-00001.parquet")
        return read("mmrb2", "MMRB2")

    return votes


@pytest.mark.parametrize(
    ("chosen", "choice"),
    [("a", "a"), ("B", "b"), ("response_a", "a"), ("Response_B", "b"), ("1", "a"), ("2", "b"), ("tie", "tie")],
)
def test_the_usual_names_of_the_chosen_side(votes: Any, picture: Any, chosen: str, choice: str) -> None:
    (vote,) = votes({"chosen": chosen})
    assert (vote.choice, vote.prompt, vote.model_a, vote.model_b, vote.source_split) == (
        choice,
        "a cat",
        "one",
        "two",
        "test",
    )
    assert (vote.image_a.read(), vote.image_b.read()) == (picture(0), picture(1))


def test_an_unknown_name_is_left_to_ingest_to_drop(votes: Any) -> None:
    assert [vote.choice for vote in votes({"chosen": "the better one"}, {"chosen": None})] == [
        "'the better one'",
        "None",
    ]


@pytest.mark.parametrize(
    "annotations",
    [
        [{"annotator_id": 7, "choice": "A"}, {"annotator_id": 8, "choice": "response_b"}],
        {"7": "a", "8": {"preference": "B"}},
    ],
)
def test_annotations_that_name_sides_are_peoples_votes(votes: Any, annotations: Any) -> None:
    found = votes({"human_annotations": json.dumps(annotations)})
    assert [(vote.annotator_id, vote.choice) for vote in found] == [("7", "a"), ("8", "b")]


@pytest.mark.parametrize(
    "text", ["", "no json", "[1, 2, 7]", '[{"choice": "A"}, {"rating": 3}]', "[" * 5000, '{"a": "1"}', "[[]]", "3"]
)
def test_other_annotations_are_not_guessed_at(votes: Any, text: str) -> None:
    assert [(vote.annotator_id, vote.choice) for vote in votes({"human_annotations": text})] == [(None, "a")]


def test_exactly_one_image_on_each_side(votes: Any) -> None:
    found = votes({"response_a_images": []}, {"response_b_images": [None, None]}, {"response_b_images": None}, {})
    assert [row.reason for row in found if isinstance(row, BadRow)] == ["image_count"] * 3
    assert found[3].choice == "a"
