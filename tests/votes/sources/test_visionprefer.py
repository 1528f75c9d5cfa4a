import json
from pathlib import Path
from typing import Any

import pytest

from suasion.errors import SuasionError


def test_rankings_in_the_layout_that_the_module_states(data: Path, read: Any, picture: Any) -> None:
    (data / "1.png").write_bytes(picture(1))
    row = {"prompt": "a cat", "images": ["1.png", "2.png", "3.png"], "rank": [1, 2, 2]}
    (data / "train.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"rank": []}) + "\n")
    *votes, bad = read("visionprefer", "train.jsonl")
    assert len(votes) == 3
    assert [vote.choice for vote in votes].count("tie") == 1
    for vote in votes:
        if vote.choice != "tie":
            assert {"a": vote.image_a, "b": vote.image_b}[vote.choice].read() == picture(1)
    assert bad.reason == "ranking_malformed"


def test_any_other_layout_is_an_error_that_names_found_and_expected(data: Path, read: Any) -> None:
    (data / "train.jsonl").write_text(json.dumps({"prompt_id": 1, "prompt": "a cat", "scores": [1, 2]}) + "\n")
    with pytest.raises(SuasionError, match="scores") as caught:
        read("visionprefer", "train.jsonl")
    message = str(caught.value)
    assert "images" in message
    assert "rank" in message
    assert "verified" in message
