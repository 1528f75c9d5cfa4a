"""Rows, images and values that come from outside: what is read, and what can not be done with them."""

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, strategies
from hypothesis.strategies import SearchStrategy

from suasion.errors import SuasionError
from suasion.images.check import MAX_BYTES
from suasion.votes.sources import BadRow, RawVote, _formats, reader_of, source_names
from suasion.votes.sources.files import (
    as_image,
    check_columns,
    check_snapshot,
    in_fair_order,
    locate,
    number,
    ranking_votes,
    read_checked,
    rows,
    snapshot_of,
    text,
    time,
)

ROWS: list[dict[str, Any]] = [{"n": str(number), "said": f'"{number}", ü\n'} for number in range(5)]
BOM = b"\xef\xbb\xbf"


def as_csv(delimiter: str = ",") -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["n", "said"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return buffer.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


LINES = "".join(json.dumps(row) + "\n\n" for row in ROWS).encode()
FORMATS = {
    "votes.csv": as_csv(),
    "excel.csv": BOM + as_csv(";"),
    "votes.tsv": as_csv("\t"),
    "votes.jsonl": BOM + LINES,
    "votes.ndjson": LINES.rstrip(),
    "array.json": BOM + json.dumps(ROWS, indent=2).encode(),
    "lines.json": LINES,
    "VOTES.PARQUET": as_parquet(ROWS),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("place", ["local", "memory"])
def test_every_format_gives_the_same_rows(name: str, place: str, tmp_path: Path) -> None:
    root = str(tmp_path) if place == "local" else f"memory://{tmp_path.name}"
    with fsspec.open(f"{root}/{name}", "wb") as file:
        file.write(FORMATS[name])
    expected = [(f"{name}:{number}", row) for number, row in enumerate(ROWS, start=1)]
    assert [*rows(f"{root}/{name}", batch=2)] == expected
    assert [*rows(f"{root}/{name[:-2]}*")] == expected
    assert [*rows(root)] == expected


def test_a_hub_path_may_be_a_folder_here(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(as_parquet(ROWS))
    found = [*rows(f"hub:{tmp_path}")]
    assert [where for where, _ in found] == [f"train:{number}" for number in range(1, 6)]
    assert [row for _, row in found] == ROWS
    assert snapshot_of(f"hub:{tmp_path}", None, ()) == snapshot_of(str(tmp_path), None, ())


def test_the_hub_needs_a_commit() -> None:
    with pytest.raises(SuasionError, match="the revision 'main' is no commit"):
        next(rows("hub:someone/something@main"))
    assert snapshot_of(f"hub:someone/something@{'a' * 40}", None, ()) == "a" * 40


def test_files_of_a_folder_are_read_by_name_and_told_apart(tmp_path: Path) -> None:
    for name in ("b/votes.csv", "a/votes.csv", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"n\n{name}\n")
    assert [*rows(f"{tmp_path}/*/*.csv")] == [
        ("a/votes.csv:1", {"n": "a/votes.csv"}),
        ("b/votes.csv:1", {"n": "b/votes.csv"}),
    ]
    assert [*rows(f"{tmp_path}/a")] == [("votes.csv:1", {"n": "a/votes.csv"})]


@pytest.mark.parametrize(
    ("name", "content", "good", "bad"),
    [
        ("v.jsonl", b'{"n": 1}\nnot json\n[1]\n7\n{"n": 2}\n\xff\xfe\n{"n": 3', [1, 2], 5),
        ("v.jsonl", b"[" * 100_000 + b"\n" + b'{"n": 1}\n', [], 1),  # reads as an array
        ("v.jsonl", b'{"n": ' + b"[" * 100_000 + b'\n{"n": 1}\n', [1], 1),
        ("v.json", b'[{"n": 1}, 7, null, "x", [2], {"n": 2}]', [1, 2], 4),
        ("v.json", b'[{"n": 1}, {"n": 2}', [1, 2], 1),
        ("v.json", b'[{"n": 1}, {"n": }, {"n": 3}]', [1], 1),
        ("v.json", b"[]", [], 0),
        ("v.json", b"[12", [], 1),
        ("v.csv", b"n,m\n1,2\n3,4,5\n\n\xff\xfe,1\n6\n", ["1", "6"], 2),
        ("v.csv", b'n\n1\n"' + b"x" * 200_000, ["1"], 1),
    ],
)
def test_what_is_no_row_is_told_and_does_not_stop(
    tmp_path: Path, name: str, content: bytes, good: list[Any], bad: int
) -> None:
    (tmp_path / name).write_bytes(content)
    found = [row for _, row in rows(str(tmp_path / name))]
    assert [row["n"] for row in found if not isinstance(row, BadRow)] == good
    problems = [row for row in found if isinstance(row, BadRow)]
    assert len(problems) == bad
    assert {row.reason for row in problems} <= {"row_unreadable"}
    assert all(len(row.detail) < 300 for row in problems)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_a_row_without_an_end_is_not_read_whole(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_formats, "MAX_ROW", 10_000)
    monkeypatch.setattr(_formats, "_CHUNK", 1_000)
    start = {"csv": b'n\n"', "jsonl": b'{"n": "', "json": b'[{"n": "'}[ending]
    (tmp_path / f"v.{ending}").write_bytes(start + b"x" * 500_000 + b"\n")
    found = [row for _, row in rows(str(tmp_path / f"v.{ending}"))]
    assert found
    assert all(isinstance(row, BadRow) for row in found)


@given(
    items=strategies.lists(
        strategies.dictionaries(strategies.text(max_size=4), strategies.text() | strategies.integers())
    ),
    chunk=strategies.integers(min_value=1, max_value=9),
    indent=strategies.sampled_from([None, 0, 2]),
)
def test_an_array_is_read_whole_whatever_the_pieces(items: list[Any], chunk: int, indent: int | None) -> None:
    said = json.dumps(items, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_formats, "_CHUNK", chunk + 3)  # the first piece shows the bracket behind a mark of three bytes
        found = [row for _, row in _formats.rows_of_file(io.BytesIO(said), "v.json", batch=2)]
    assert found == items


def test_damaged_parquet_is_a_bad_row_and_no_parquet_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(SuasionError, match="not Parquet"):
        next(rows(str(tmp_path / "v.parquet")))
    content = bytearray(as_parquet([{"n": "x" * 1000 + str(number)} for number in range(1000)]))
    content[100:2000] = b"\xff" * 1900
    (tmp_path / "v.parquet").write_bytes(content)
    assert isinstance([*rows(str(tmp_path / "v.parquet"))][-1][1], BadRow)


def test_what_is_not_there_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match=r"no votes file at .*gone\.csv"):
        next(rows(str(tmp_path / "gone.csv")))
    (tmp_path / "votes.xlsx").write_bytes(b"PK")
    with pytest.raises(SuasionError, match=r"votes\.xlsx is in no format"):
        next(rows(str(tmp_path / "votes.xlsx")))
    with pytest.raises(SuasionError, match="cannot be opened"):
        next(rows("nothing-like-it://a/b.csv"))


def test_columns_are_checked_in_each_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,m\n1,2\n")
    (tmp_path / "b.csv").write_text("n\n1\n")
    with pytest.raises(SuasionError, match="no column m: found n; expected n, m\n") as caught:
        [*read_checked(str(tmp_path), ["n", "m"])]
    assert "b.csv" in caught.value.where
    with pytest.raises(SuasionError, match="expected m; the published schema could not be verified"):
        check_columns(["n"], ["m"], where="here", verified=False)


OUTSIDE = ["../secret", "/etc/hostname", "link", "a/../../secret", "gone", "", ".", "a\0b", "s3://b/k", "x" * 5000]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_image_path_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("s")
    root = tmp_path / "images"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises((FileNotFoundError, OSError)):
        as_image(name, str(root)).read()
    fsspec.filesystem("memory").pipe("/box/secret", b"s")
    with pytest.raises((FileNotFoundError, OSError)):
        as_image(name, "memory://box/images").read()


def test_images_are_paths_bytes_or_what_datasets_makes_of_them(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"1")
    fsspec.filesystem("memory").pipe("/pictures/1.jpg", b"1")
    for value in ("1.jpg", b"1", {"bytes": b"1", "path": "gone"}, {"bytes": None, "path": "1.jpg"}):
        assert as_image(value, str(tmp_path)).read() == b"1"
        assert as_image(value, "memory://pictures").read() == b"1"
    assert as_image(b"1", "").name == as_image({"bytes": b"1"}, "else").name
    for value in (None, 7, [], {}, {"bytes": None}, b"", math.nan):
        with pytest.raises(FileNotFoundError):
            as_image(value, str(tmp_path)).read()


def test_reading_an_image_has_an_end(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(10 * MAX_BYTES)
    assert len(as_image("huge.jpg", str(tmp_path)).read()) == MAX_BYTES + 1


def vote(**changes: Any) -> RawVote:
    fields: dict[str, Any] = {"row": "r", "prompt": "p", "choice": "a", "model_a": "m1", "model_b": "m2"} | changes
    images = {"image_a": as_image("1", ""), "image_b": as_image("2", "")}
    return RawVote(**(images | fields))


def turned(vote: RawVote) -> RawVote:
    sides = {"image_a": vote.image_b, "image_b": vote.image_a, "model_a": vote.model_b, "model_b": vote.model_a}
    choice = {"a": "b", "b": "a"}.get(vote.choice, vote.choice)
    return RawVote(**(vars(vote) | sides | {"choice": choice}))


@given(prompt=strategies.text(), choice=strategies.sampled_from(["a", "b", "tie", "both_bad"]))
def test_the_fair_order_does_not_depend_on_the_order_given(prompt: str, choice: str) -> None:
    given_ = vote(prompt=prompt, choice=choice)
    fair = in_fair_order(given_)
    assert fair == in_fair_order(turned(given_)) == in_fair_order(fair)
    assert fair in (given_, turned(given_))


def test_the_fair_order_is_fair() -> None:
    first = [in_fair_order(vote(prompt=str(number))).choice for number in range(1000)].count("a")
    assert abs(first - 500) < 80  # five sigma


NUMBERS: SearchStrategy[float] = strategies.integers(min_value=1, max_value=4).map(float)


@given(ranks=strategies.lists(NUMBERS, min_size=2, max_size=6))
def test_a_ranking_is_every_pair_once_and_the_lower_rank_wins(ranks: list[float]) -> None:
    images = [as_image(f"{number}", "") for number in range(len(ranks))]
    found = [*ranking_votes("r", "p", images, ranks, annotator_id="me")]
    assert len(found) == len(ranks) * (len(ranks) - 1) // 2
    seen = set()
    for said in found:
        assert isinstance(said, RawVote)
        a, b = int(said.image_a.name), int(said.image_b.name)
        seen.add(frozenset((a, b)))
        assert said.choice == ("tie" if ranks[a] == ranks[b] else "a" if ranks[a] < ranks[b] else "b")
        assert said.annotator_id == "me"
    assert len(seen) == len(found) == len({said.row for said in found})


@pytest.mark.parametrize("ranks", [[1], [1, 2, 3], [1, None], [1, math.nan], [1, "x"], [1, True], []])
def test_a_malformed_ranking_is_one_bad_row(ranks: list[Any]) -> None:
    (found,) = ranking_votes("r", "p", [as_image("1", ""), as_image("2", "")], ranks)
    if ranks == [1, True]:
        assert isinstance(found, RawVote)  # as Python has it, true is one
    else:
        assert isinstance(found, BadRow)
        assert found.reason == "ranking_malformed"


def test_a_ranking_of_thousands_is_refused() -> None:
    images = [as_image("1", "")] * 5000
    (found,) = ranking_votes("r", "p", images, [1.0] * 5000)
    assert isinstance(found, BadRow)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 1),
        ("", 1),
        ("2", 2),
        (0.5, 0.5),
        ("many", 0),
        (math.nan, 0),
        (math.inf, 0),
        ([], 0),
        (10**400, 0),
        (-3, -3),
    ],
)
def test_a_number_is_one_where_empty_and_none_where_it_is_none(value: Any, expected: float) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-05T09:00:00", datetime(2026, 1, 5, 9)),
        ("2026-01-05T09:00:00Z", datetime(2026, 1, 5, 9)),
        ("2026-01-05 09:00:00+02:00", datetime(2026, 1, 5, 7)),
        (datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 9)),
        (datetime(2026, 1, 5, 9, tzinfo=timezone(timedelta(hours=-1))), datetime(2026, 1, 5, 10)),
        (1767603600, datetime(2026, 1, 5, 9)),
        ("1767603600000", datetime(2026, 1, 5, 9)),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1e300, None),
        ([], None),
    ],
)
def test_times_are_utc(value: Any, expected: datetime | None) -> None:
    assert time(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("x", "x"), ("", None), (None, None), (3, "3"), (math.nan, None), ([1], None), ("\ud800", "?")],
)
def test_text_is_plain_or_none(value: Any, expected: str | None) -> None:
    assert text(value) == expected


def test_the_snapshot_sees_rows_and_images_and_nothing_else(tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text("a,b\n1.jpg,../out.jpg\n")
    (tmp_path / "1.jpg").write_bytes(b"1")

    def now() -> str:
        return snapshot_of(str(votes), str(tmp_path), ("a", "b"))

    first = now()
    (tmp_path / "other.jpg").write_bytes(b"2")
    (tmp_path.parent / "out.jpg").write_bytes(b"outside")
    assert now() == first
    (tmp_path / "1.jpg").write_bytes(b"2")
    second = now()
    votes.write_text("a,b\n1.jpg,2.jpg\n")
    assert len({first, second, now()}) == 3
    check_snapshot(first, first, "here")
    with pytest.raises(SuasionError, match=f"snapshot {second}, not {first}"):
        check_snapshot(second, first, "here")


def test_paths_are_below_the_data_folder_or_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUASION_DATA", str(tmp_path))
    assert locate("a/b.csv") == str(tmp_path / "a" / "b.csv")
    for path in ("/a/b.csv", "s3://bucket/key", "hub:owner/name@abc"):
        assert locate(path) == path


def test_sources_are_found_by_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"world", "table", "avt"} <= {*source_names()}
    assert not {"files", "__init__", "_formats"} & {*source_names()}
    for name in source_names():
        assert callable(reader_of(name))
    with pytest.raises(SuasionError, match="no source 'moon'; there are world, avt"):
        reader_of("moon")
