import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from suasion.evaluation.pages import share
from suasion.evaluation.votes_page import ROWS, ledgers, listed, summaries, votes_page
from suasion.records import DROP, PAIR, VOTER, write

Row = tuple[str, str, str, str]
HOSTILE = '<script>alert("x")</script>'


class Text(HTMLParser):
    """The text of every table's rows, and of the whole page; drawings are left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.names: list[str] = []
        self.hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("svg", "style")
        if tag == "tr":
            self.rows.append("")
        if tag == "svg":
            self.names.append(dict(attributes).get("aria-label") or "")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("svg", "style")

    def handle_data(self, data: str) -> None:
        if self.rows and not self.hidden:
            self.rows[-1] = " ".join(f"{self.rows[-1]} {data}".split())


def voters(size: int, *, flagged: int = 0, seconds: bool = False) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    out = np.arange(size) < flagged
    return pl.DataFrame(
        {
            "annotator_id": [f"voter-{n:05}-{'x' * 24}" for n in range(size)],
            "n_votes": rng.integers(1, 3000, size),
            "n_decided": rng.integers(1, 3000, size),
            "accuracy": np.where(out, 0.5, rng.uniform(0.6, 1, size)),
            "left_share": rng.random(size),
            "tie_rate": rng.random(size),
            "seconds": pl.Series(rng.uniform(1, 9, size) if seconds else [None] * size, dtype=pl.Float64),
            "flagged": out,
            "flag": pl.Series(["low_accuracy" if flag else None for flag in out], dtype=pl.String),
        },
        schema=VOTER,
    )


def pairs(size: int) -> pl.DataFrame:
    empty: dict[str, Any] = dict.fromkeys(PAIR.names())
    shared = empty | {"p_a": 0.75, "n_votes": 4, "agreement": 0.75, "tie_rate": 0.0, "split": "train"}
    return pl.DataFrame([shared | {"pair_id": str(n), "label": "ab"[n % 2]} for n in range(size)], schema=PAIR)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes what ingest and filter leave, with counts that add up."""
    monkeypatch.chdir(tmp_path)

    def leave(people: pl.DataFrame, early: Sequence[Row] = (), late: Sequence[Row] = ()) -> None:
        data = tmp_path / "data"
        for name, rows in (("ingest", early), ("filter", late)):
            write(pl.DataFrame(list(rows), schema=DROP, orient="row"), data / name / "drops.parquet", DROP)
        write(people, data / "filter" / "voters.parquet", VOTER)
        write(pairs(5), data / "filter" / "pairs.parquet", PAIR)
        lost = {reason: sum(row[2] == reason for row in late) for _, _, reason, _ in late}
        of_votes = {reason: lost.pop(reason) for reason in ("repeated_vote", "voter_flagged") if reason in lost}
        source = {"rows": 1000 + len(early), "votes": 1000, "dropped": len(early), "snapshot": "0" * 64}
        filtered = {"votes_in": 1000, "votes_kept": 1000 - sum(of_votes.values()), "pairs_kept": 5}
        filtered |= {"pairs_in": 5 + sum(lost.values()), "dropped_votes": of_votes, "dropped_pairs": lost}
        filtered |= {"voters": people.height, "voters_flagged": int(people["flagged"].sum()), "splits": {"train": 5}}
        filtered |= {"labels": "one_coin", "ties": "half", "mean_agreement": 0.75, "mean_tie_rate": 0.0}
        filtered |= {"alpha": {"own": None}, "components": {"count": 5, "largest_share": 0.2}}
        (data / "ingest" / "summary.json").write_text(json.dumps(source | {"images": 9, "sources": {"own": source}}))
        (data / "filter" / "summary.json").write_text(json.dumps(filtered))

    return leave


def page() -> str:
    return votes_page()


EARLY = [("ingest", f"row-{n}", "image_missing", f"{n}.jpg") for n in range(9)] + [("ingest", HOSTILE, "new", HOSTILE)]
LATE = [("filter", f"vote-{n}", "repeated_vote", "the same detail") for n in range(4)]
LATE += [("filter", f"pair-{n}", "low_margin", f"0.5{n}") for n in range(2)]


def test_what_came_is_what_was_kept_and_what_was_dropped(stages: Callable[..., None]) -> None:
    stages(voters(3), EARLY, LATE)
    filtered, ingested = summaries()
    found = ledgers(ingested, filtered)
    assert [(ledger["came"], ledger["kept"], ledger["gone"]) for ledger in found] == [
        (1010, 1000, 10),
        (1000, 996, 4),
        (7, 5, 2),
    ]
    for ledger in found:
        assert ledger["came"] == ledger["kept"] + sum(row["count"] for row in ledger["rows"])
        assert sum(row["share"] for row in ledger["rows"]) + ledger["share"] == pytest.approx(1)
    rows = Text(page()).rows
    assert any(row.startswith("image_missing The file of an image is not there.") for row in rows)
    assert any("row-0 (0.jpg) row-1 (1.jpg) row-2 (2.jpg) −9 0.9%" in row for row in rows), "three ids, count, share"
    assert any("vote-0 vote-1 vote-2 −4" in row for row in rows), "a detail that is always the same says nothing"
    assert any(row.startswith("Pairs kept = 5 71.4%") for row in rows)
    assert "do not add up" not in page()


def test_what_an_evaluation_set_lacks_is_in_no_sum(stages: Callable[..., None]) -> None:
    stages(voters(3), [*EARLY, ("evaluation_set", "other:4", "image_corrupt", "4.jpg")])
    path = Path("data/ingest/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": 1010}))
    found = page()
    assert "do not add up" not in found
    assert "Rows of evaluation sets that could not be read" in found
    assert "other:4" in found


def test_numbers_that_do_not_add_up_are_said_not_to(stages: Callable[..., None]) -> None:
    stages(voters(3), EARLY, LATE)
    path = Path("data/filter/summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pairs_kept": 6}))
    assert "do not add up: 7 came in, 6 were kept and 2 left out" in page()


def test_text_from_data_is_escaped_and_an_unknown_reason_has_no_sentence(stages: Callable[..., None]) -> None:
    stages(voters(3).with_columns(annotator_id=pl.lit(HOSTILE)), EARLY)
    found = page()
    assert HOSTILE not in found
    assert "<script" not in found
    assert any(row.startswith("new such as") for row in Text(found).rows)
    for remote in ('src="http', 'href="http', "url(http", "@import"):
        assert remote not in found
    assert page() == found, "same inputs, same bytes"


def test_where_nobody_is_known_and_nothing_was_dropped(stages: Callable[..., None]) -> None:
    stages(voters(0))
    found = page()
    assert found.count("Nothing was left out.") == 3
    assert "nobody's reliability can be estimated" in found
    assert found.count("<svg") == 4, "of the pairs alone"
    assert "seconds" not in found


def test_every_drawing_says_what_it_shows(stages: Callable[..., None]) -> None:
    stages(voters(50, flagged=4, seconds=True))
    names = Text(page()).names
    assert len(names) == 8
    assert all(name.endswith(".") for name in names)
    assert any(name.startswith("Scatter plot of 50 voters, 4 of them left out") for name in names)
    assert any(
        re.match(r"Histogram of 50 voters by seconds.*from 1\.\d+ to 8\.\d+, the median", name) for name in names
    )


def test_voters_left_out_come_first_then_the_least_reliable(stages: Callable[..., None]) -> None:
    people = voters(300, flagged=20)
    rows = listed(people)
    assert len(rows) == ROWS
    assert [row["flagged"] for row in rows] == [True] * 20 + [False] * (ROWS - 20)
    accuracies = [row["accuracy"] for row in rows[20:]]
    assert accuracies == sorted(accuracies)
    stages(people)
    assert "200 of 300; the others are in" in page()
    assert page().count("left out: estimated accuracy too low") == 20


def test_twenty_thousand_voters_are_a_small_page(stages: Callable[..., None]) -> None:
    stages(voters(20_000, flagged=5000, seconds=True))
    assert len(page().encode()) < 1_000_000


@pytest.mark.parametrize("size", [1, 2])
def test_one_voter_or_two_are_drawn(stages: Callable[..., None], size: int) -> None:
    stages(voters(size, flagged=1, seconds=True))
    assert page().count("<svg") == 8


def test_a_small_share_is_not_shown_as_nothing() -> None:
    assert [share(value) for value in (None, 0.0, 0.0001, 0.5, 1.0)] == ["–", "0.0%", "<0.1%", "50.0%", "100.0%"]
