from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.errors import SuasionError
from suasion.votes.sources import BadRow, RawVote

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("left_model", pa.string()),
        ("left_image", IMAGE),
        ("right_model", pa.string()),
        ("right_image", IMAGE),
        ("vote_type", pa.string()),
    ]
)


def write(data: Path, picture: Callable[[int], bytes], *vote_types: str | None) -> None:
    rows = [
        {
            "prompt": f"a cat {number}",
            "left_model": "SDXL",
            "left_image": {"bytes": picture(2 * number), "path": None},
            "right_model": "PixArt",
            "right_image": {"bytes": picture(2 * number + 1), "path": None},
            "vote_type": vote_type,
        }
        for number, vote_type in enumerate(vote_types)
    ]
    folder = data / "GenAI-Bench" / "image_generation"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "test_v1-00000-of-00001.parquet")


def test_the_four_vote_types(data: Path, picture: Any, read: Any) -> None:
    write(data, picture, "leftvote", "rightvote", "tievote", "bothbad_vote", "leftvote_maybe", None)
    votes = read("genai_bench", "GenAI-Bench")
    assert [vote.choice for vote in votes] == ["a", "b", "tie", "both_bad", "'leftvote_maybe'", "None"]
    assert votes[0].image_a.read() == picture(0)
    assert votes[0].image_b.read() == picture(1)
    assert {(vote.model_a, vote.model_b, vote.annotator_id, vote.count) for vote in votes} == {
        ("SDXL", "PixArt", None, 1)
    }
    assert {vote.source_split for vote in votes} == {"test"}
    assert votes[1].row == "test_v1-00000-of-00001.parquet:2"


def test_another_config_is_an_error_that_names_found_and_expected(data: Path, read: Any) -> None:
    columns = ["prompt", "left_model", "left_video", "right_model", "right_video", "vote_type"]
    pq.write_table(pa.table({column: ["x"] for column in columns}), data / "videos.parquet")
    with pytest.raises(SuasionError, match="left_image") as caught:
        read("genai_bench", "videos.parquet")
    assert "left_video" in str(caught.value)


def test_rows_that_are_no_votes_are_bad_rows(data: Path, read: Any) -> None:
    columns = (
        '{"prompt": 7, "left_model": [], "left_image": 1, "right_model": {}, "right_image": "", "vote_type": 1e999}'
    )
    (data / "rows.jsonl").write_text(columns + "\nno json\n")
    first, second = read("genai_bench", "rows.jsonl")
    assert isinstance(first, RawVote)
    assert (first.prompt, first.choice, first.model_a) == ("", "inf", None)
    with pytest.raises(FileNotFoundError):
        first.image_a.read()
    assert isinstance(second, BadRow)
    assert second.reason == "row_unreadable"
