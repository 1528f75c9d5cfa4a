import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suasion.params import data_folder
from suasion.votes.sources import BadRow

GROUP = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("classification", pa.string()),
        ("image_amount_in_total", pa.int64()),
        ("image_path", pa.list_(pa.string())),
        ("rank", pa.list_(pa.int64())),
        ("overall_rating", pa.list_(pa.int64())),
        ("image_text_alignment_rating", pa.list_(pa.int64())),
        ("fidelity_rating", pa.list_(pa.int64())),
    ]
)
SINGLE = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("classification", pa.string()),
        ("image_amount_in_total", pa.int64()),
        ("rank", pa.int64()),
        ("overall_rating", pa.int64()),
        ("image_text_alignment_rating", pa.int64()),
        ("fidelity_rating", pa.int64()),
    ]
)


def said(votes: Any) -> list[tuple[str, str]]:
    """The two images of each vote in the order of their names, and who won."""
    found = []
    for vote in votes:
        names = [Path(image.name).name for image in (vote.image_a, vote.image_b)]
        found.append(("/".join(sorted(names)), {"a": names[0], "b": names[1]}.get(vote.choice, vote.choice)))
    return sorted(found)


EXPECTED = [("1.webp/2.webp", "2.webp"), ("1.webp/3.webp", "tie"), ("2.webp/3.webp", "2.webp")]


def group(**changes: Any) -> dict[str, Any]:
    row = {"prompt_id": "1-2", "prompt": "a cat", "image_amount_in_total": 3, "rank": [2, 1, 2]}
    return row | {"image_path": [f"images/{number}.webp" for number in (1, 2, 3)]} | changes


def test_the_group_layout_in_parquet(data: Path, read: Any) -> None:
    (data / "db").mkdir()
    pq.write_table(pa.Table.from_pylist([group()], GROUP), data / "db" / "metadata-validation.parquet")
    votes = read("imagereward", "db")
    assert said(votes) == EXPECTED
    assert {(vote.prompt, vote.annotator_id, vote.source_split) for vote in votes} == {("a cat", None, "val")}


def test_the_group_layout_in_json_with_images_beside(data: Path, read: Any, picture: Any) -> None:
    (data / "images").mkdir()
    for number in (1, 2, 3):
        (data / "images" / f"{number}.webp").write_bytes(picture(number))
    (data / "train_1.json").write_text(json.dumps([group()]))
    votes = read("imagereward", "train_1.json")
    assert said(votes) == EXPECTED
    assert {vote.source_split for vote in votes} == {"train"}
    assert {vote.image_a.read() for vote in votes} | {vote.image_b.read() for vote in votes} == {
        picture(number) for number in (1, 2, 3)
    }


def test_the_single_image_layout_is_gathered_by_prompt(data: Path, read: Any, picture: Any) -> None:
    images = [(prompt, number, rank) for prompt in "pq" for number, rank in ((1, 2), (2, 1), (3, 2))]
    rows = [
        {
            "image": {"bytes": picture(number + 10 * "pq".index(prompt)), "path": f"{number}.webp"},
            "prompt_id": prompt,
            "prompt": f"a {prompt}",
            "image_amount_in_total": 3,
            "rank": rank,
        }
        for prompt, number, rank in sorted(images, key=lambda image: image[1])  # the prompts' rows alternate
    ]
    rows.append(rows[0] | {"prompt_id": "never whole", "rank": 1})
    rows.append(rows[0] | {"prompt_id": "no rank", "rank": None})
    pq.write_table(pa.Table.from_pylist(rows, SINGLE), data / "train.parquet")
    found = read("imagereward", "train.parquet")
    bad = [row for row in found if isinstance(row, BadRow)]
    assert [row.reason for row in bad] == ["ranking_malformed"] * 2  # without a rank; alone at the end
    for prompt in "pq":
        votes = [vote for vote in found if vote not in bad and vote.prompt == f"a {prompt}"]
        best = picture(2 + 10 * "pq".index(prompt))
        assert len(votes) == 3
        assert [vote.choice for vote in votes].count("tie") == 1
        assert all(best == {"a": v.image_a, "b": v.image_b}[v.choice].read() for v in votes if v.choice != "tie")


@pytest.mark.parametrize("change", [{"rank": [1, 2]}, {"rank": None}, {"rank": "1,2,3"}, {"image_path": None}])
def test_a_malformed_ranking_is_one_bad_row(data: Path, read: Any, change: dict[str, Any]) -> None:
    (data / "train.json").write_text(json.dumps([group(), group(**change)]))
    assert [row.reason for row in read("imagereward", "train.json")[3:]] == ["ranking_malformed"]


def test_the_published_test_file(read: Any) -> None:
    if not (data_folder() / "imagereward-test" / "test.json").is_file():
        pytest.skip("the data are not here: docs/data.md")
    votes = read("imagereward", "imagereward-test/test.json")
    choices = [vote.choice for vote in votes]
    strict = len(votes) - choices.count("tie")
    assert (strict, choices.count("tie"), len({vote.row.partition("#")[0] for vote in votes})) == (6399, 831, 466)
    assert len({image.name for vote in votes for image in (vote.image_a, vote.image_b)}) == 2720
    assert 0.48 < choices.count("a") / strict < 0.52  # as listed it is 0.59
    assert {vote.source_split for vote in votes} == {"test"}
