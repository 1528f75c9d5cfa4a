import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from suasion.params import ROOT
from suasion.records import PAIR, write
from suasion.votes.pin import main, pin_if_votes_changed
from suasion.votes.splits import read_lock


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of the profile avt: one pair, and what ingest says of its source."""
    monkeypatch.chdir(tmp_path)
    content: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / "avt.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    row = dict.fromkeys(PAIR.names()) | {"prompt_id": "p", "image_a": "a", "image_b": "b", "split": "test"}
    write(pl.DataFrame([row], schema=PAIR), tmp_path / "data/filter/pairs.parquet", PAIR)
    ingested = {"sources": {"avt": {"snapshot": content["ingest"]["sources"][0]["snapshot"]}}}
    (tmp_path / "data/ingest").mkdir()
    (tmp_path / "data/ingest/summary.json").write_text(json.dumps(ingested))
    return tmp_path


def change(workspace: Path, edit: Any) -> None:
    content = yaml.safe_load((workspace / "params.yaml").read_text())
    edit(content)
    (workspace / "params.yaml").write_text(yaml.safe_dump(content))


def test_the_same_votes_pin_nothing_so_that_a_repeated_run_has_nothing_to_do(workspace: Path) -> None:
    assert pin_if_votes_changed() == 0
    assert not (workspace / "splits.lock").exists()


def test_other_votes_of_a_known_source_pin_what_the_last_run_split(workspace: Path) -> None:
    change(workspace, lambda content: content["ingest"]["sources"][0].update(snapshot="0" * 64))
    assert pin_if_votes_changed() == 3
    wanted = [("image", "a", "test"), ("image", "b", "test"), ("prompt", "p", "test")]
    assert read_lock(workspace / "splits.lock").rows() == wanted
    assert pin_if_votes_changed() == 0


def test_another_source_and_splits_of_the_source_pin_nothing(workspace: Path) -> None:
    change(workspace, lambda content: content["filter"].update(splits="source"))
    assert pin_if_votes_changed() == 0
    with pytest.raises(SystemExit):
        main()
    change(workspace, lambda content: content["filter"].update(splits={"train": 1.0}))
    change(workspace, lambda content: content["ingest"]["sources"][0].update(name="hpdv3"))
    assert pin_if_votes_changed() == 0


def test_by_hand(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "3 more prompts and images are in splits.lock" in capsys.readouterr().out
