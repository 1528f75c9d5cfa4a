"""The two validation stages as processes of their own, over real Great Expectations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from suasion.params import ROOT
from suasion.records import IMAGE, PAIR, VOTE, write


def votes(*changes: dict[str, object]) -> pl.DataFrame:
    row = dict.fromkeys(VOTE.names()) | {
        "pair_id": "p",
        "prompt_id": "q",
        "prompt": "x",
        "image_a": "a",
        "image_b": "b",
    }
    row |= {"count": 1, "weight": 1.0, "source": "s", "annotator_id": "me"}
    rows = [row | {"vote_id": f"v{at}", "choice": "ab"[at % 2]} | change for at, change in enumerate(changes)]
    return pl.DataFrame(rows, schema=VOTE)


def pairs(*changes: dict[str, object]) -> pl.DataFrame:
    row = dict.fromkeys(PAIR.names()) | {"prompt": "x", "label": "a", "p_a": 0.9, "agreement": 1.0, "tie_rate": 0.0}
    rows = [
        row
        | {"pair_id": f"p{at}", "prompt_id": f"q{at}", "image_a": f"a{at}", "image_b": f"b{at}", "split": "train"}
        | change
        for at, change in enumerate(changes)
    ]
    return pl.DataFrame(rows, schema=PAIR)


def validate(folder: Path, name: str, table: pl.DataFrame) -> subprocess.CompletedProcess[str]:
    params = (ROOT / "tests" / "micro.yaml").read_text().replace("min_votes: 100", "min_votes: 4")
    (folder / "params.yaml").write_text(params.replace("min_pairs: 20", "min_pairs: 2"))
    schema, path = (VOTE, "ingest/votes.parquet") if name == "votes" else (PAIR, "filter/pairs.parquet")
    write(table, folder / "data" / path, schema)
    images = sorted({*table["image_a"], *table["image_b"]} - {"lost"})
    index = pl.DataFrame([(name, "t", 0, 1, 8, 8, "jpg", bytes(24)) for name in images], schema=IMAGE, orient="row")
    write(index, folder / "data/ingest/images/index.parquet", IMAGE)
    command = [sys.executable, "-m", "stages.validate", name]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_holds_leaves_a_result_and_a_page_that_fetches_nothing(tmp_path: Path) -> None:
    done = validate(tmp_path, "votes", votes({}, {}, {}, {}))
    assert done.returncode == 0, done.stderr
    assert "expectations hold on 4 votes" in done.stdout
    result = json.loads((tmp_path / "data/validate-votes/result.json").read_text())
    assert result["success"] is True
    page = (tmp_path / "data/validate-votes/docs/index.html").read_text()
    assert "choice" in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        (
            "votes",
            votes({}, {}, {"vote_id": "v1"}),
            "to_be_between (min_value 4) does not hold: found 3",
        ),
        ("votes", votes({}, {}, {}, {}, {}, {"image_b": "lost"}), "among them v5"),
        ("votes", votes({}, {"choice": "a"}, {}, {"choice": "a"}), "share_of_a_of_all"),
        ("pairs", pairs({"image_a": "i"}, {"image_b": "i", "split": "val"}), "among them p0, p1"),
        ("pairs", pairs({}, {"label": "both"}), "found ['both'] in 1 rows, among them p1"),
    ],
)
def test_what_does_not_hold_stops_with_the_expectation_the_value_and_ids(
    tmp_path: Path, name: str, table: pl.DataFrame, said: str
) -> None:
    done = validate(tmp_path, name, table)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / f"data/validate-{name}").exists(), "nothing is published that does not hold"


def test_out_of_distribution_may_share_prompts_and_images_with_test(tmp_path: Path) -> None:
    shared = {"prompt_id": "q", "image_a": "i"}
    done = validate(tmp_path, "pairs", pairs(shared | {"split": "test"}, shared | {"split": "ood"}))
    assert done.returncode == 0, done.stderr
