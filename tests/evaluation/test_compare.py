import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from suasion.cli import app
from suasion.errors import SuasionError
from suasion.evaluation.compare import compare_runs
from suasion.records import EVALUATED
from tests.evaluation.finished import HOSTILE, leave_run, leave_shards, said_of
from tests.shards.pairs import make_pairs

SPLITS = {"test": 5, "ood": 2}


@pytest.fixture
def pairs(tmp_path: Path) -> pl.DataFrame:
    return make_pairs(tmp_path / "images", **SPLITS)


@pytest.fixture
def runs(tmp_path: Path, pairs: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Folders of two runs: in the second pairs 1 and 2 got better, pair 3 worse, and of ood pair 6 worse."""
    monkeypatch.chdir(tmp_path)
    leave_run(tmp_path / "first", said_of(pairs, {"pair-0001": "", "pair-0002": "ab"}))
    leave_run(tmp_path / "second", said_of(pairs, {"pair-0001": "ba", "pair-0003": "", "pair-0006": "ab"}))
    return "first", "second"


def test_what_changed_sides_is_counted_and_shown(
    runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_runs(*runs, Path("out.html"))
    said = capsys.readouterr().out
    rows = {row[0]: row[1:] for line in said.splitlines() if len(row := re.split("  +", line)) == 8}
    assert rows["test"][:3] == ["5", "70.0%", "70.0%"]
    assert rows["test"][3].startswith("+0.0 points (95% interval −")
    assert rows["test"][4:] == ["2", "1", "1.000"]
    assert rows["out of distribution"][4:] == ["0", "1", "1.000"]
    page = (tmp_path / "out.html").read_text()
    assert [f'id="example-pair-000{number}"' in page for number in range(7)] == [
        number in (1, 2, 3, 6) for number in range(7)
    ]
    assert page.count("B is better</p>") == 2
    assert HOSTILE not in page
    assert "Its images are not at hand" in page
    assert page.count("With image 2 shown first") >= 4


def test_the_order_that_changed_comes_first(runs: tuple[str, str], tmp_path: Path) -> None:
    compare_runs(*runs, Path("out.html"))
    page = (tmp_path / "out.html").read_text()
    card = page[page.index('id="example-pair-0002"') :].partition("<details>")[0]
    assert "With image 2 shown first" in card
    assert "A: image 2, wrong" in card
    assert "B: image 1, right" in card


def test_pairs_have_their_images_where_shards_are_at_hand(
    runs: tuple[str, str], tmp_path: Path, pairs: pl.DataFrame
) -> None:
    leave_shards(tmp_path / "second", pairs, tmp_path / "images")
    compare_runs(*runs, Path("out.html"))
    page = (tmp_path / "out.html").read_text()
    assert page.count("data:image/webp") == 8
    assert "not at hand" not in page
    assert "a &#34;cat&#34; &lt;b&gt;ü&lt;/b&gt;" in page
    again = tmp_path / "again.html"
    compare_runs(*runs, again)
    assert again.read_text() == page, "same inputs, same bytes"


def test_runs_that_agree_have_no_pair_to_show(runs: tuple[str, str], tmp_path: Path) -> None:
    compare_runs("first", "first", Path("out.html"))
    page = (tmp_path / "out.html").read_text()
    assert "No pair changed sides." in page
    assert "<article" not in page


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True)


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, pairs: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit that has no run (tag `empty`), a run with shards (`old`), and one in the workspace."""
    where = tmp_path / "repository"
    where.mkdir()
    monkeypatch.chdir(where)
    git("init", "-q")
    dvc("init", "-q")
    git("commit", "-qm", "no run")
    git("tag", "empty")
    leave_run(where, said_of(pairs, {"pair-0001": ""}))
    leave_shards(where, pairs, tmp_path / "images")
    dvc("add", "-q", "data/evaluate", "data/shards")
    git("add", ".")
    git("commit", "-qm", "a run")
    git("tag", "old")
    leave_run(where, said_of(pairs, {"pair-0003": "", "pair-0004": ""}))
    return where


def test_a_revision_is_read_from_git_and_from_the_cache(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare_runs("old", ".", Path("out.html"))
    (test,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test")]
    assert test.split()[2:4] == ["80.0%", "60.0%"]
    page = Path("out.html").read_text()
    assert page.count("<article") == 3
    assert page.count("data:image/webp") == 6, "the revision's shards are in the cache"
    assert {path.name for path in repository.iterdir()} == {
        *(".dvc", ".dvcignore", ".git", "data", "metrics.json", "out.html")
    }


def test_what_is_no_run_is_said_to_be_none(repository: Path) -> None:
    with pytest.raises(SuasionError, match="neither a folder nor a git revision") as none:
        compare_runs("old", "--nowhere", Path("out.html"))
    assert "git tag" in none.value.do
    with pytest.raises(SuasionError, match="run 'data' has no data/evaluate/predictions.parquet"):
        compare_runs("data", "old", Path("out.html"))
    with pytest.raises(SuasionError, match="run 'empty' has no data/evaluate/predictions.parquet at hand"):
        compare_runs("empty", "old", Path("out.html"))
    shutil.rmtree(".dvc/cache")
    with pytest.raises(SuasionError, match="run 'old' has no data/evaluate/predictions.parquet at hand") as gone:
        compare_runs("old", ".", Path("out.html"))
    assert "cache" in gone.value.where
    assert "make repro" in gone.value.do
    assert not Path("out.html").exists()


def test_runs_of_other_pairs_or_without_a_released_model_are_not_compared(
    runs: tuple[str, str], pairs: pl.DataFrame, tmp_path: Path
) -> None:
    said = said_of(pairs, {})
    leave_run(tmp_path / "others", said.with_columns(pair_id="x" + pl.col("pair_id")))
    leave_run(tmp_path / "untrained", said.with_columns(model=pl.lit("warmstart")))
    with pytest.raises(SuasionError, match="no pair in common"):
        compare_runs("first", "others", Path("out.html"))
    with pytest.raises(SuasionError, match="says nothing of a released model"):
        compare_runs("first", "untrained", Path("out.html"))


def test_the_command_says_what_is_wrong_without_a_traceback(runs: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["report", *runs, "--out", "nowhere/out.html"])
    assert done.exit_code == 1
    assert "error: cannot write the page" in done.output
    assert CliRunner().invoke(app, ["report", *runs]).exit_code == 0
    assert Path("comparison.html").is_file()
    assert set(SPLITS) <= set(EVALUATED)
