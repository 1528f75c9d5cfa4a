"""`suasion profile` as a new user meets it: a votes file of one's own, a profile that runs on it."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies

from suasion.errors import SuasionError
from suasion.params import ROOT, Columns, TableSource, load_params
from suasion.records import VOTE, read
from suasion.votes.guess import guess_columns
from suasion.votes.ingest import ingest
from suasion.votes.profile import make_profile, renew_snapshots
from suasion.world.scenes import draw, encode, random_scene


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with its profiles, and a folder `votes` with four images of 64 pixels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUASION_DATA", str(tmp_path / "data"))
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    rng = np.random.default_rng(0)
    (tmp_path / "votes" / "img").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "votes" / "img" / f"{number}.png").write_bytes(encode(draw(random_scene(rng, groups=1), rng)))
    return tmp_path


def put(rows: list[dict[str, Any]], name: str = "votes.csv") -> str:
    path = Path("votes") / name
    with path.open("w", newline="") as file:
        if name.endswith(".csv"):
            writer = csv.DictWriter(file, [*rows[0]])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def rows(*winners: str, **changes: Any) -> list[dict[str, Any]]:
    sides = {"Left image": "img/0.png", "Right image": "img/1.png"}
    return [
        {"caption": f"a {number % 3}", **sides, "winner": winner, "worker_id": number, "notes": "-"} | changes
        for number, winner in enumerate(winners)
    ]


def test_a_file_of_ones_own_becomes_a_profile_that_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(rows("left", "Right", "tie", "left", "left", "skip"))
    make_profile(path, "mine", images=None, base="avt")
    said = capsys.readouterr().out
    assert "6 rows, 6 voters, 3 pairs, 3 prompts" in said
    assert "Left image   image_a" in said
    assert "notes        (not used)" in said
    assert re.search("skip +1 rows +NOT UNDERSTOOD", said)
    assert "make repro PROFILE=mine" in said
    params = load_params(Path("profiles/mine.yaml"))
    (source,) = params.ingest.sources
    assert isinstance(source, TableSource)
    assert source.label == params.profile == "mine"
    assert params.filter.copies == {"mine": 8}
    assert params.filter.splits == {"train": 0.7, "val": 0.1, "test": 0.2}
    assert params.validate_.min_votes == 3
    assert params.release.license == "other"
    written = Path("profiles/mine.yaml").read_text()
    assert "not understood, so dropped: 'skip' (1 rows)" in written
    assert "# pixels" in written or "#" in written.split("\n", 1)[1]
    counts = ingest(params.ingest, project / "out", seed=0)
    assert (counts["votes"], counts["dropped"]) == (5, 1)


def test_a_profile_is_not_overwritten(project: Path) -> None:
    path = put(rows("left", "right"))
    before = Path("profiles/world.yaml").read_text()
    with pytest.raises(SuasionError, match=r"world\.yaml exists"):
        make_profile(path, "world", images=None, base="avt")
    assert Path("profiles/world.yaml").read_text() == before
    make_profile(path, "mine", images=None, base="avt")
    make_profile(path, "mine", images=None, base="world", force=True)
    assert load_params(Path("profiles/mine.yaml")).shard.max_side == 64


def test_zero_and_one_must_be_explained(project: Path) -> None:
    path = put(rows("0", "1", "0"))
    make_profile(path, "mine", images=None, base="avt", values=["0=a", "1=b"])
    (source,) = load_params(Path("profiles/mine.yaml")).ingest.sources
    assert isinstance(source, TableSource)
    assert source.choices == {"0": "a", "1": "b"}
    with pytest.raises(SuasionError, match="the values 0 and 1 do not say"):
        make_profile(path, "other", images=None, base="avt")
    with pytest.raises(SuasionError, match="no row says which image is better") as caught:
        make_profile(put(rows("0", "0")), "other", images=None, base="avt")
    assert "--value VALUE=a" in caught.value.do
    with pytest.raises(SuasionError, match="a value means one of a, b, tie, both_bad"):
        make_profile(path, "other", images=None, base="avt", values=["0=first"])


def test_a_winner_may_be_named_by_its_generator(project: Path) -> None:
    found = [row | {"model_a": "sdxl", "model_b": "flux"} for row in rows("flux", "sdxl", "flux")]
    make_profile(put(found), "mine", images=None, base="avt")
    ingest(load_params(Path("profiles/mine.yaml")).ingest, project / "out", seed=0)
    assert sorted(read(project / "out" / "votes.parquet", VOTE)["choice"]) == ["a", "b", "b"]


def test_a_winner_may_be_named_by_its_path(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_profile(put(rows("img/0.png", "img/1.png", "img/0.png")), "mine", images=None, base="avt")
    assert re.search(r"\(a name\) +2 rows +a\n", capsys.readouterr().out)
    counts = ingest(load_params(Path("profiles/mine.yaml")).ingest, project / "out", seed=0)
    assert counts["votes"] == 3


def test_images_elsewhere_are_asked_for_and_found(project: Path) -> None:
    path = put(rows("left", **{"Left image": "0.png", "Right image": "1.png"}))
    with pytest.raises(SuasionError, match=r"none of the first 2 images is there, for example '0\.png'") as caught:
        make_profile(path, "mine", images=None, base="avt")
    assert "--images FOLDER" in caught.value.do
    make_profile(path, "mine", images="votes/img", base="avt")
    absolute = {"Left image": str(project / "votes/img/0.png"), "Right image": str(project / "votes/img/1.png")}
    make_profile(put(rows("left", **absolute), "absolute.csv"), "whole", images=None, base="avt")
    for name in ("mine", "whole"):
        assert ingest(load_params(Path(f"profiles/{name}.yaml")).ingest, project / name, seed=0)["votes"] == 1


def test_counts_and_splits_are_seen(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"image1": "img/0.png", "image2": "img/1.png"}
    found = [
        {"prompt": f"p{number}", **sides, "votes_image1": 3, "votes_image2": number, "split": split}
        for number, split in enumerate(["train", "validation", "test"])
    ]
    make_profile(put(found), "mine", images=None, base="avt")
    params = load_params(Path("profiles/mine.yaml"))
    assert params.filter.splits == "source"
    assert "encoding counts: a row is the votes for each side" in capsys.readouterr().out
    summary = ingest(params.ingest, project / "out", seed=0)
    assert (summary["rows"], summary["votes"]) == (5, 5)


def test_a_ranking_is_seen(project: Path) -> None:
    found = [{"prompt": "p", "images": ["img/0.png", "img/1.png", "img/2.png"], "ranking": [1, 2, 2]}]
    make_profile(put(found, "votes.jsonl"), "mine", images=None, base="avt")
    assert ingest(load_params(Path("profiles/mine.yaml")).ingest, project / "out", seed=0)["votes"] == 3


def test_columns_that_nobody_can_guess_are_asked_for(project: Path) -> None:
    strange = [{"f1": "a cat", "f2": "img/0.png", "f3": "img/1.png", "f4": "left"}]
    path = put(strange)
    with pytest.raises(
        SuasionError, match="no column is known as prompt, image_a, image_b, choice: found f1, f2"
    ) as caught:
        make_profile(path, "mine", images=None, base="avt")
    assert "--column prompt=NAME --column image_a=NAME" in caught.value.do
    with pytest.raises(SuasionError, match="--column prompt=f9: not one of f1, f2, f3, f4"):
        make_profile(path, "mine", images=None, base="avt", columns=["prompt=f9"])
    told = ["prompt=f1", "image_a=f2", "image_b=f3", "choice=f4"]
    make_profile(path, "mine", images=None, base="avt", columns=told)
    assert Path("profiles/mine.yaml").is_file()


def test_new_votes_need_a_new_snapshot(project: Path) -> None:
    make_profile(put(rows("left", "right")), "mine", images=None, base="avt")
    profile = Path("profiles/mine.yaml")
    before = profile.read_text()
    put(rows("left", "right", "left"))
    with pytest.raises(SuasionError, match="the data have the snapshot"):
        ingest(load_params(profile).ingest, project / "out", seed=0)
    renew_snapshots(profile)
    assert ingest(load_params(profile).ingest, project / "out", seed=0)["votes"] == 3
    changed = [one for one, two in zip(before.split("\n"), profile.read_text().split("\n"), strict=True) if one != two]
    assert len(changed) == 1
    assert "snapshot" in changed[0]


@pytest.mark.parametrize(
    ("found", "encoding", "expected"),
    [
        ("prompt image_a image_b choice", "choice", {"image_a": "image_a", "image_b": "image_b"}),
        ("text imageA imageB Vote userId", "choice", {"image_a": "imageA", "annotator_id": "userId"}),
        (
            "caption jpg_0 jpg_1 label model_0 model_1",
            "choice",
            {"image_a": "jpg_0", "image_b": "jpg_1", "model_b": "model_1"},
        ),
        ("prompt path1 path2 winner", "choice", {"image_a": "path1", "image_b": "path2"}),
        ("prompt left right preferred timestamp", "choice", {"image_b": "right", "voted_at": "timestamp"}),
        (
            "prompt image1 image2 votes_image1 votes_image2 ties",
            "counts",
            {"count_a": "votes_image1", "count_tie": "ties"},
        ),
        (
            "prompt left_image right_image left_votes right_votes",
            "counts",
            {"image_a": "left_image", "count_b": "right_votes"},
        ),
        ("prompt generations ranking", "ranking", {"images": "generations", "rank": "ranking"}),
    ],
)
def test_usual_names_are_known(found: str, encoding: str, expected: dict[str, str]) -> None:
    guessed, columns = guess_columns(found.split(), {})
    assert guessed == encoding
    assert {key: getattr(columns, key) for key in expected} == expected


@given(
    found=strategies.lists(strategies.sampled_from([*Columns.model_fields, "x", "y", "image1", "image2"]), unique=True)
)
def test_no_column_is_read_as_two_things(found: list[str]) -> None:
    try:
        _, columns = guess_columns(found, {})
    except SuasionError:
        return
    used = [*columns.model_dump(exclude_none=True).values()]
    assert len(used) == len({*used})
    assert {*used} <= {*found}
