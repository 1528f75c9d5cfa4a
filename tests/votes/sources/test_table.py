"""A table of votes by its declared columns: three encodings, four formats, wherever the file lies."""

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, strategies
from hypothesis import settings as settings_

from suasion.errors import SuasionError
from suasion.params import Columns, TableSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources.files import folder_of, locate, snapshot_of
from suasion.votes.sources.table import meaning_of, read_votes

ROWS: list[dict[str, Any]] = [
    {"q": "a cat", "left": "1.jpg", "right": "2.jpg", "vote": "Left", "who": "ann"},
    {"q": "a cat", "left": "1.jpg", "right": "2.jpg", "vote": "2", "who": "bob"},
    {"q": "a dog", "left": "2.jpg", "right": "1.jpg", "vote": "both bad", "who": "ann"},
]
NAMES = {"prompt": "q", "image_a": "left", "image_b": "right", "choice": "vote", "annotator_id": "who"}


def settings(path: str, encoding: str = "choice", columns: dict[str, str] | None = None, **changes: Any) -> TableSource:
    given_ = Columns(**(columns or NAMES))
    located = locate(path)
    images = [name for name in (given_.image_a, given_.image_b, given_.images) if name]
    values: dict[str, Any] = {"images": None, "choices": {}, "label": "mine"} | changes
    root = locate(values["images"]) if values["images"] else folder_of(located)
    snapshot = snapshot_of(located, root, images)
    return TableSource(
        name="table",
        path=path,
        encoding=encoding,
        columns=given_,
        snapshot=snapshot,
        **values,  # type: ignore[arg-type]
    )


def write(path: str, rows: list[dict[str, Any]]) -> str:
    buffer = io.BytesIO()
    if path.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    elif path.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
        buffer.write(text.getvalue().encode())
    else:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        buffer.write((json.dumps(rows) if path.endswith(".json") else lines).encode())
    with fsspec.open(path, "wb") as file:
        file.write(buffer.getvalue())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def said(settings: TableSource) -> list[Any]:
    return [
        (vote.prompt, vote.image_a.read(), vote.choice, vote.annotator_id) if isinstance(vote, RawVote) else vote
        for vote in read_votes(settings, 0)
    ]


EXPECTED = [("a cat", b"1.jpg", "a", "ann"), ("a cat", b"1.jpg", "b", "bob"), ("a dog", b"2.jpg", "both_bad", "ann")]


@pytest.mark.parametrize("name", ["v.csv", "v.jsonl", "v.json", "v.parquet"])
def test_one_row_per_person_in_every_format(folder: Path, name: str) -> None:
    assert said(settings(write(str(folder / name), ROWS))) == EXPECTED


@pytest.mark.parametrize("kind", ["bytes", "mapping"])
@pytest.mark.parametrize("place", ["", "hub:"])
def test_images_may_be_in_the_rows(tmp_path: Path, kind: str, place: str) -> None:
    def inside(name: str) -> Any:
        return name.encode() if kind == "bytes" else {"bytes": name.encode(), "path": name}

    rows = [row | {side: inside(row[side]) for side in ("left", "right")} for row in ROWS]
    (tmp_path / "set").mkdir()
    write(str(tmp_path / "set" / "train.parquet"), rows)
    assert said(settings(f"{place}{tmp_path}/set")) == EXPECTED


def test_a_folder_on_the_hub_may_name_files_beside_it(folder: Path) -> None:
    write(str(folder / "train.parquet"), ROWS)
    assert said(settings(f"hub:{folder}")) == EXPECTED


def test_a_storage_of_fsspec(request: Any) -> None:
    for name in ("1.jpg", "2.jpg"):
        fsspec.filesystem("memory").pipe(f"/bucket/images/{name}", name.encode())
    path = write("memory://bucket/votes.jsonl", ROWS)
    assert said(settings(path, images="memory://bucket/images")) == EXPECTED


def test_images_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    votes = tmp_path_factory.mktemp("votes") / "v.csv"
    assert said(settings(write(str(votes), ROWS), images=str(folder))) == EXPECTED


def test_further_columns_are_read(folder: Path) -> None:
    row = ROWS[0] | {"t": "2026-01-05T09:00:00Z", "w": 0.5, "n": 3, "s": "test", "m1": "sd", "m2": "flux", "p": 17}
    more = {
        "voted_at": "t",
        "weight": "w",
        "count": "n",
        "split": "s",
        "model_a": "m1",
        "model_b": "m2",
        "pair_id": "p",
    }
    (vote,) = read_votes(settings(write(str(folder / "v.jsonl"), [row]), columns=NAMES | more), 0)
    assert isinstance(vote, RawVote)
    assert (vote.voted_at, vote.weight, vote.count) == (datetime(2026, 1, 5, 9), 0.5, 3)
    assert (vote.source_split, vote.model_a, vote.model_b, vote.pair_id) == ("test", "sd", "flux", "17")


def test_counts_are_a_vote_for_each_side(folder: Path) -> None:
    columns = {
        "prompt": "q",
        "image_a": "left",
        "image_b": "right",
        "count_a": "n1",
        "count_b": "n2",
        "count_tie": "n0",
    }
    counts: list[tuple[Any, Any, Any]] = [
        (3, 0, 1),
        ("2", 5.0, ""),
        (0, 0, 0),
        (-1, 2, 0),
        (1.5, 0, 0),
        ("x", 1, 0),
        (None, 1, None),
    ]
    rows = [ROWS[0] | {"n1": a, "n2": b, "n0": tie} for a, b, tie in counts]
    found = [*read_votes(settings(write(str(folder / "v.jsonl"), rows), "counts", columns), 0)]
    votes = [(vote.row, vote.choice, vote.count) for vote in found if isinstance(vote, RawVote)]
    assert votes == [
        ("v.jsonl:1#a", "a", 3),
        ("v.jsonl:1#tie", "tie", 1),
        ("v.jsonl:2#a", "a", 2),
        ("v.jsonl:2#b", "b", 5),
        ("v.jsonl:7#b", "b", 1),
    ]
    assert [bad.row for bad in found if isinstance(bad, BadRow)] == [f"v.jsonl:{number}" for number in (3, 4, 5, 6)]


def test_a_ranking_is_every_pair(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"q": "a cat", "pictures": ["1.jpg", "2.jpg", "3.jpg"], "places": [2, 1, 2], "who": "ann"},
        {"q": "a cat", "pictures": ["1.jpg"], "places": [1], "who": "ann"},
        {"q": "a cat", "pictures": "1.jpg", "places": 1, "who": "ann"},
    ]
    columns = {"prompt": "q", "images": "pictures", "rank": "places", "annotator_id": "who"}
    found = [*read_votes(settings(write(str(folder / "v.jsonl"), rows), "ranking", columns), 0)]
    votes = [vote for vote in found if isinstance(vote, RawVote)]
    best = {vote.image_a.name if vote.choice == "a" else vote.image_b.name for vote in votes if vote.choice != "tie"}
    assert len(votes) == 3
    assert best == {"2.jpg"}
    assert {vote.annotator_id for vote in votes} == {"ann"}
    assert [bad.reason for bad in found if isinstance(bad, BadRow)] == ["ranking_malformed"] * 2


def test_a_column_that_is_not_there_is_named(folder: Path) -> None:
    path = write(str(folder / "v.csv"), ROWS)
    with pytest.raises(SuasionError, match="no column voter: found q, left, right, vote, who"):
        [*read_votes(settings(path, columns=NAMES | {"annotator_id": "voter"}), 0)]


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("A", "a"), ("left", "a"), (1, "a"), (1.0, "a"), ("image 1", "a"), ("Image-1", "a"), ("leftvote", "a"),
        ("b", "b"), ("RIGHT", "b"), ("2", "b"), ("image2", "b"), ("second", "b"),
        ("Tie", "tie"), ("equal", "tie"), (0.5, "tie"), ("tievote", "tie"), ("no preference", "tie"),
        ("bothbad_vote", "both_bad"), ("Neither", "both_bad"),
        (0, None), ("0", None), ("", None), (None, None), ("yes", None), ([], None), (True, None),
    ],
)  # fmt: skip
def test_the_usual_values_are_known(value: Any, choice: str | None) -> None:
    assert meaning_of(value, {}) == choice


def test_the_parameters_say_what_other_values_mean() -> None:
    own = {"0": "a", "1": "b", "Katze": "tie"}
    assert [meaning_of(value, own) for value in (0, "1", "katze", "2")] == ["a", "b", "tie", "b"]


ANY = strategies.none() | strategies.floats() | strategies.lists(strategies.integers())


@settings_(max_examples=30)
@given(row=strategies.dictionaries(strategies.sampled_from([*NAMES.values()]), ANY))
def test_no_row_is_an_error(row: dict[str, Any], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = [ROWS[0], row]
    assert len([*read_votes(settings(write(str(folder / "v.jsonl"), rows)), 0)]) == 2
