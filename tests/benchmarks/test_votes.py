"""The benchmark of votes at a size that says nothing of speed: its parts run, and the other way finds the same labels."""

from pathlib import Path

import polars as pl

from benchmarks.votes import digest, make_workspace, output, run


def test_both_ways_run_on_one_file_and_agree(tmp_path: Path) -> None:
    make_workspace(tmp_path, 30_000)
    assert run(tmp_path, "-m", "stages.filter")[1] > 0
    first = digest(tmp_path / "data" / "filter")
    run(tmp_path, "-m", "stages.filter")
    assert digest(tmp_path / "data" / "filter") == first
    run(tmp_path, "-m", "benchmarks.votes", "pandas")
    ours = pl.read_parquet(tmp_path / "data" / "filter" / "pairs.parquet").select("pair_id", ours="label")
    theirs = pl.read_parquet(tmp_path / "pandas-pairs.parquet").select("pair_id", theirs="label")
    both = ours.join(theirs, on="pair_id")
    assert both.height > 1000
    assert (both["ours"] == both["theirs"]).mean() > 0.99
    reasons = {*pl.read_parquet(tmp_path / "data" / "filter" / "drops.parquet")["reason"]}
    assert {"repeated_vote", "voter_flagged", "tie"} < reasons
    assert '"label_agreement"' in output(tmp_path, "-m", "benchmarks.votes", "dawid-skene")
