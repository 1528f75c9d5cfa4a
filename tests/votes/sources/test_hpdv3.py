import json
from pathlib import Path
from typing import Any

import pytest

from suasion.votes.sources import BadRow


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": f"a cat {number}",
        "path1": f"images/best_{number}.jpg",
        "path2": f"images/worse_{number}.jpg",
        "model1": "flux",
        "model2": "sd3",
        "choice_dist": [7, 2],
        "confidence": 0.9,
        "source": "test",
    } | changes


def write(data: Path, *rows: dict[str, Any], name: str = "train.json") -> None:
    (data / "HPDv3").mkdir(exist_ok=True)
    (data / "HPDv3" / name).write_text(json.dumps(rows))


def best(vote: Any) -> str:
    return "a" if Path(vote.image_a.name).name.startswith("best") else "b"


def test_the_first_image_wins_on_either_side(data: Path, read: Any) -> None:
    write(data, *(row(number, choice_dist=None, confidence=None) for number in range(400)))
    votes = read("hpdv3", "HPDv3")
    assert len(votes) == 400
    assert all(vote.choice == best(vote) for vote in votes)
    assert 160 < sum(vote.choice == "a" for vote in votes) < 240
    assert all((vote.model_a if vote.choice == "a" else vote.model_b) == "flux" for vote in votes)
    assert {vote.source_split for vote in votes} == {"train"}


def test_the_deal_does_not_depend_on_the_order_in_the_file(data: Path, read: Any) -> None:
    write(data, *(row(number) for number in range(20)))
    there = {(vote.prompt, vote.image_a.name, vote.choice, vote.count) for vote in read("hpdv3", "HPDv3")}
    write(data, *(row(number) for number in reversed(range(20))))
    assert there == {(vote.prompt, vote.image_a.name, vote.choice, vote.count) for vote in read("hpdv3", "HPDv3")}


def test_counts_are_votes_for_both_sides(data: Path, read: Any) -> None:
    write(data, row(), row(1, choice_dist=[5, 0]), row(2, choice_dist=[0, 0]), name="test.json")
    votes = read("hpdv3", "HPDv3")
    said = [(vote.prompt, vote.choice == best(vote), vote.count, vote.weight) for vote in votes]
    assert said == [
        ("a cat 0", True, 7, 1.0),
        ("a cat 0", False, 2, 1.0),
        ("a cat 1", True, 5, 1.0),
        ("a cat 2", True, 1, 1.0),
    ]
    assert {vote.source_split for vote in votes} == {"test"}


def test_confidence_weighs_where_there_are_no_counts(data: Path, read: Any) -> None:
    write(data, row(choice_dist=None), row(1, choice_dist=None, confidence=None))
    assert [vote.weight for vote in read("hpdv3", "HPDv3")] == [0.9, 1.0]


@pytest.mark.parametrize("bad", [[7], [7, -2], [7, 1e12], [7, 1.5], ["7", "2"], [True, False], {"a": 1}, "7,2", []])
def test_counts_that_are_none_are_bad_rows(data: Path, read: Any, bad: Any) -> None:
    write(data, row(choice_dist=bad), row(1))
    found = read("hpdv3", "HPDv3")
    assert isinstance(found[0], BadRow)
    assert found[0].reason == "counts_malformed"
    assert len(found) == 3


def test_images_are_read_below_the_folder_and_nowhere_else(data: Path, read: Any, picture: Any) -> None:
    write(data, row(path2="../secret.png", choice_dist=None))
    (data / "HPDv3" / "images").mkdir()
    (data / "HPDv3" / "images" / "best_0.jpg").write_bytes(picture(0))
    (data / "secret.png").write_bytes(picture(1))
    (vote,) = read("hpdv3", "HPDv3")
    inside, outside = (vote.image_a, vote.image_b) if vote.choice == "a" else (vote.image_b, vote.image_a)
    assert inside.read() == picture(0)
    with pytest.raises(FileNotFoundError):
        outside.read()
