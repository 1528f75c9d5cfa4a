import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from suasion.errors import SuasionError
from suasion.images.pack import PackedImages
from suasion.params import Ingest, JsonlSource, WorldSource
from suasion.records import DROP, SCENE, VOTE, read
from suasion.votes.ingest import ingest
from suasion.votes.sources.folder import snapshot_of
from suasion.world.scenes import draw, encode, random_scene

WORLD = WorldSource(
    name="world",
    pairs={"train": 12, "val": 4, "test": 4, "ood": 4},
    voters=8,
    votes_per_pair=5,
    careless_share=0.25,
    left_share=0.125,
    tie_share=0.1,
    no_difference_share=0.1,
    image_size=32,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of votes of one's own, with two good images, one that is cut short and one that is huge."""
    monkeypatch.setenv("SUASION_DATA", str(tmp_path))
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(encode(draw(random_scene(rng, groups=1), rng)))
    (folder / "cut.jpg").write_bytes((folder / "1.jpg").read_bytes()[:400])
    (folder / "text.jpg").write_text("not an image")
    return folder


def put(folder: Path, *rows: object) -> Ingest:
    (folder / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = JsonlSource(name="jsonl", folder=str(folder), snapshot=snapshot_of(folder))
    return Ingest(source=source, max_megapixels=1.0)


def row(**changes: object) -> dict[str, object]:
    return {"prompt": "a cat", "image_a": "1.jpg", "image_b": "2.jpg", "choice": "a"} | changes


def test_bad_rows_are_dropped_with_a_reason_and_the_rest_is_kept(folder: Path, tmp_path: Path) -> None:
    settings = put(
        folder,
        row(),
        row(choice="left"),
        row(prompt="  "),
        row(image_a="gone.jpg"),
        row(image_a="cut.jpg"),
        row(image_b="text.jpg"),
        row(image_a="../votes.jsonl"),
        ["no object"],
        row(annotator_id="me"),
        row(annotator_id="me"),
        row(count=0),
    )
    counts = ingest(settings, tmp_path / "out", seed=0)
    drops = read(tmp_path / "out" / "drops.parquet", DROP)
    assert counts == {"rows": 11, "votes": 2, "dropped": 9, "images": 2}
    assert dict(drops.select("id", "reason").rows()) | {"repeated": "repeated_row"} == {
        "votes.jsonl:2": "choice_unknown",
        "votes.jsonl:3": "prompt_empty",
        "votes.jsonl:4": "image_missing",
        "votes.jsonl:5": "image_corrupt",
        "votes.jsonl:6": "image_format",
        "votes.jsonl:7": "image_missing",
        "votes.jsonl:8": "prompt_empty",
        "votes.jsonl:11": "weight_not_positive",
        "repeated": "repeated_row",
    } | {vote: reason for vote, reason in drops.select("id", "reason").rows() if reason == "repeated_row"}


def test_an_image_over_the_pixel_cap_is_not_decoded(folder: Path, tmp_path: Path) -> None:
    settings = put(folder, row(), row(image_a="2.jpg", image_b="1.jpg")).model_copy(update={"max_megapixels": 0.001})
    with pytest.raises(SuasionError, match=r"none of 2 rows can be used.*image_too_large"):
        ingest(settings, tmp_path / "out", seed=0)


def test_a_missing_column_is_named_with_what_was_found(folder: Path, tmp_path: Path) -> None:
    settings = put(folder, {"text": "a cat", "image_a": "1.jpg", "image_b": "2.jpg", "choice": "a"})
    with pytest.raises(SuasionError, match="no column prompt: found text, image_a, image_b, choice; expected prompt"):
        ingest(settings, tmp_path / "out", seed=0)


def test_changed_data_are_not_taken_for_the_old(folder: Path, tmp_path: Path) -> None:
    settings = put(folder, row())
    (folder / "1.jpg").write_bytes((folder / "2.jpg").read_bytes())
    with pytest.raises(SuasionError, match="the data have the snapshot") as caught:
        ingest(settings, tmp_path / "out", seed=0)
    assert snapshot_of(folder) in caught.value.do


def test_a_missing_folder_says_where_to_put_it(tmp_path: Path) -> None:
    source = JsonlSource(name="jsonl", folder=str(tmp_path / "nowhere"), snapshot="0" * 64)
    with pytest.raises(SuasionError, match="no folder nowhere"):
        ingest(Ingest(source=source, max_megapixels=1.0), tmp_path / "out", seed=0)


def test_the_world_gives_the_same_bytes_twice_and_its_truth(tmp_path: Path) -> None:
    settings = Ingest(source=WORLD, max_megapixels=1.0)
    for name in ("one", "two"):
        ingest(settings, tmp_path / name, seed=3)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    votes = read(tmp_path / "one" / "votes.parquet", VOTE)
    assert votes.height == 24 * 5
    truth = pl.read_parquet(tmp_path / "one" / "truth.parquet")
    assert truth["kind"].value_counts().sort("kind").rows() == [("careful", 5), ("careless", 2), ("left", 1)]


def test_every_image_of_a_vote_is_packed_and_its_scene_known(tmp_path: Path) -> None:
    ingest(Ingest(source=WORLD, max_megapixels=1.0), tmp_path / "out", seed=3)
    votes = read(tmp_path / "out" / "votes.parquet", VOTE)
    packed = PackedImages(tmp_path / "out" / "images")
    hashes = {*votes["image_a"], *votes["image_b"]}
    assert all(name in packed for name in hashes)
    assert {*read(tmp_path / "out" / "scenes.parquet", SCENE)["sha256"]} == hashes
    import hashlib

    assert all(hashlib.sha256(packed.read(name)).hexdigest() == name for name in hashes)
