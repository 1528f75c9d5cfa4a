"""Ingestion of tables and of the world: nothing is lost, nothing is believed, and a kill changes nothing."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies
from PIL import Image

from suasion.errors import SuasionError
from suasion.images.pack import PackedImages
from suasion.params import ROOT, Columns, EvaluationSet, Ingest, TableSource, WorldSource
from suasion.records import DROP, HELD_OUT, SCENE, VOTE, read
from suasion.votes.ingest import ingest
from suasion.votes.rows import comparable
from suasion.votes.sources.files import snapshot_of
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
COLUMNS = {name: name for name in ("prompt", "image_a", "image_b", "choice")}
MORE = ("annotator_id", "count", "pair_id", "split", "model_a", "model_b")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two good images, one that is cut short, one that is none and one that is small."""
    monkeypatch.setenv("SUASION_DATA", str(tmp_path))
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("1.jpg", "2.jpg", "3.jpg", "../out.jpg"):
        (folder / name).write_bytes(encode(draw(random_scene(rng, groups=1), rng)))
    (folder / "cut.jpg").write_bytes((folder / "1.jpg").read_bytes()[:400])
    (folder / "text.jpg").write_text("not an image")
    Image.new("RGB", (10, 40)).save(folder / "small.png")
    return folder


def source(folder: Path, *rows: object, label: str = "mine") -> TableSource:
    """The source of `rows`, which are written to a file of JSON lines; the further columns are those of the first row."""
    path = folder / f"{label}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = rows[0] if isinstance(rows[0], dict) else {}
    columns = Columns(**COLUMNS, **{name: name for name in MORE if name in first})
    return TableSource(
        name="table",
        label=label,
        path=str(path),
        images=None,
        encoding="choice",
        columns=columns,
        choices={},
        snapshot=snapshot_of(str(path), str(folder), ("image_a", "image_b")),
    )


def options(*sources: Any, **changes: Any) -> Ingest:
    given: dict[str, Any] = {"evaluation_sets": [], "max_megapixels": 1.0, "min_side": 16} | changes
    return Ingest(sources=list(sources), **given)


def row(**changes: object) -> dict[str, object]:
    return {"prompt": "a cat", "image_a": "1.jpg", "image_b": "2.jpg", "choice": "a"} | changes


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bad_rows_are_dropped_with_a_reason_and_the_rest_is_kept(folder: Path, tmp_path: Path) -> None:
    mine = source(
        folder,
        row(annotator_id="", count=1, split=""),
        row(choice="perhaps"),
        row(prompt="  "),
        row(image_a="gone.jpg"),
        row(image_a="cut.jpg"),
        row(image_b="text.jpg"),
        row(image_a="../out.jpg"),
        ["no object"],
        row(annotator_id="me"),
        row(annotator_id="me"),
        row(count=0),
        row(image_b="small.png"),
        row(split="later"),
        row(count="many"),
        row(count=10**400),
        row(prompt="a \ud800 cat", choice="b"),
    )
    counts = ingest(options(mine), tmp_path / "out", seed=0)
    drops = read(tmp_path / "out" / "drops.parquet", DROP)
    assert (counts["rows"], counts["votes"], counts["dropped"]) == (16, 3, 13)
    assert counts["sources"]["mine"] == {"rows": 16, "votes": 3, "dropped": 13, "snapshot": mine.snapshot}
    reasons = {row_id.rpartition(":")[2]: reason for row_id, reason in drops.select("id", "reason").iter_rows()}
    assert reasons.pop(read(tmp_path / "out" / "votes.parquet", VOTE).filter(annotator_id="me")["vote_id"][0]) == (
        "repeated_row"
    )
    assert reasons == {
        "2": "choice_unknown",
        "3": "prompt_empty",
        "4": "image_missing",
        "5": "image_corrupt",
        "6": "image_format",
        "7": "image_missing",
        "8": "row_unreadable",
        "11": "weight_not_positive",
        "12": "image_too_small",
        "13": "split_unknown",
        "14": "weight_not_positive",
        "15": "weight_not_positive",
    }


def test_an_image_over_the_pixel_cap_is_not_decoded(folder: Path, tmp_path: Path) -> None:
    mine = source(folder, row(), row(image_a="2.jpg", image_b="1.jpg"))
    with pytest.raises(SuasionError, match=r"none of 2 rows can be used.*image_too_large"):
        ingest(options(mine, max_megapixels=0.001), tmp_path / "out", seed=0)


def test_a_missing_column_is_named_with_what_was_found(folder: Path, tmp_path: Path) -> None:
    mine = source(folder, {"text": "a cat", "image_a": "1.jpg", "image_b": "2.jpg", "choice": "a"})
    with pytest.raises(SuasionError, match="no column prompt: found text, image_a, image_b, choice; expected prompt"):
        ingest(options(mine), tmp_path / "out", seed=0)


def test_changed_data_are_not_taken_for_the_old(folder: Path, tmp_path: Path) -> None:
    mine = source(folder, row())
    (folder / "1.jpg").write_bytes((folder / "2.jpg").read_bytes())
    with pytest.raises(SuasionError, match="the data have the snapshot") as caught:
        ingest(options(mine), tmp_path / "out", seed=0)
    assert snapshot_of(mine.path, str(folder), ("image_a", "image_b")) in caught.value.do


def test_rows_of_a_pair_that_contradict_each_other_leave(folder: Path, tmp_path: Path) -> None:
    mine = source(
        folder,
        *(row(pair_id="p", annotator_id=f"v{number}") for number in range(3)),
        row(pair_id="p", annotator_id="w", prompt="A  CAT"),  # the same prompt, as it is compared
        row(pair_id="p", annotator_id="x", image_a="2.jpg", image_b="1.jpg", choice="b", model_a="m2", model_b="m1"),
        row(pair_id="q", annotator_id="y"),
        row(pair_id="q", annotator_id="y", prompt="a dog"),
        row(pair_id="q", annotator_id="z", image_b="3.jpg"),
    )
    ingest(options(mine), tmp_path / "out", seed=0)
    votes = read(tmp_path / "out" / "votes.parquet", VOTE)
    assert [*votes.select("pair_id", "vote_id").rows()] == sorted(votes.select("pair_id", "vote_id").rows())
    pair = votes.filter(pair_id="mine-p")
    assert pair.height == 5
    assert pair["prompt_id"].n_unique() == 1
    turned = pair.filter(annotator_id="x").select("image_a", "image_b", "choice").row(0)
    straight = pair.filter(annotator_id="v0").select("image_b", "image_a").row(0)
    assert turned == (*straight, "b"), "a vote stays as it was shown"
    first = votes.filter(pair_id="mine-q")
    drops = read(tmp_path / "out" / "drops.parquet", DROP)
    assert first.height == 1
    assert drops["reason"].to_list() == ["pair_conflict"] * 2
    assert all(first["vote_id"][0] < dropped for dropped in drops["id"])


def test_two_sources_are_told_apart(folder: Path, tmp_path: Path) -> None:
    one = source(folder, row(pair_id="1", annotator_id="ann"), row(pair_id="2", annotator_id="ann", choice="?"))
    two = source(folder, row(pair_id="1", annotator_id="ann", image_b="3.jpg"), label="two")
    counts = ingest(options(one, two), tmp_path / "out", seed=0)
    votes = read(tmp_path / "out" / "votes.parquet", VOTE)
    assert sorted(votes.select("source", "pair_id", "annotator_id").rows()) == [
        ("mine", "mine-1", "mine/ann"),
        ("two", "two-1", "two/ann"),
    ]
    assert read(tmp_path / "out" / "drops.parquet", DROP)["id"].to_list() == ["mine:mine.jsonl:2"]
    assert {label: found["rows"] for label, found in counts["sources"].items()} == {"mine": 2, "two": 1}


def test_evaluation_sets_are_read_and_not_packed(folder: Path, tmp_path: Path) -> None:
    (folder / "bench.csv").write_text("q,left,right\na dog,3.jpg,gone.jpg\n,1.jpg,1.jpg\na cat,1.jpg,cut.jpg\n")
    snapshot = snapshot_of(str(folder / "bench.csv"), str(folder), ("left", "right"))
    bench = EvaluationSet(name="bench", path="mine/bench.csv", prompt="q", images=["left", "right"], snapshot=snapshot)
    counts = ingest(options(source(folder, row()), evaluation_sets=[bench]), tmp_path / "out", seed=0)
    held_out = read(tmp_path / "out" / "held_out.parquet", HELD_OUT)
    assert held_out.height == 4
    assert held_out.filter(pl.col("sha256").is_null())["prompt"].to_list() == ["a cat", "a dog"]
    assert {len(found) for found in held_out["phash"].drop_nulls()} == {24}
    assert counts["images"] == 2
    assert counts["dropped"] == 0
    drops = read(tmp_path / "out" / "drops.parquet", DROP)
    assert sorted(drops.select("stage", "id", "reason").rows()) == [
        ("evaluation_set", "bench:bench.csv:1", "image_missing"),
        ("evaluation_set", "bench:bench.csv:2", "prompt_empty"),
        ("evaluation_set", "bench:bench.csv:3", "image_corrupt"),
    ]


def test_the_world_gives_the_same_bytes_whatever_threads_and_batches(tmp_path: Path) -> None:
    ingest(options(WORLD), tmp_path / "one", seed=3)
    ingest(options(WORLD), tmp_path / "two", seed=3, threads=3, batch=7)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert len(files_of(tmp_path / "one")) == 8
    assert not (tmp_path / ".one.work").exists()
    votes = read(tmp_path / "one" / "votes.parquet", VOTE)
    assert votes.height == 24 * 5
    truth = pl.read_parquet(tmp_path / "one" / "truth.parquet")
    assert truth["kind"].value_counts().sort("kind").rows() == [("careful", 5), ("careless", 2), ("left", 1)]


def test_batches_are_cut_where_rows_bring_much_along(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [(folder / name).read_bytes() for name in ("1.jpg", "2.jpg", "3.jpg")]
    rows = [row(image_a=contents[number % 3], image_b=contents[number % 2]) for number in range(10)]
    pl.DataFrame(rows).write_parquet(folder / "v.parquet")
    path = str(folder / "v.parquet")
    mine = source(folder, row()).model_copy(update={"path": path, "snapshot": snapshot_of(path, str(folder), ())})
    ingest(options(mine), tmp_path / "one", seed=0)
    monkeypatch.setattr("suasion.votes.ingest.BATCH_BYTES", len(contents[0]))
    ingest(options(mine), tmp_path / "two", seed=0, work=tmp_path / "work")
    assert len([*(tmp_path / "work" / "parts").glob("part-*")]) >= 5
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_every_image_of_a_vote_is_packed_and_its_scene_known(tmp_path: Path) -> None:
    ingest(options(WORLD), tmp_path / "out", seed=3)
    votes = read(tmp_path / "out" / "votes.parquet", VOTE)
    packed = PackedImages(tmp_path / "out" / "images")
    hashes = {*votes["image_a"], *votes["image_b"]}
    assert all(name in packed for name in hashes)
    assert {*read(tmp_path / "out" / "scenes.parquet", SCENE)["sha256"]} == hashes
    assert all(hashlib.sha256(packed.read(name)).hexdigest() == name for name in hashes)


CHILD = """
import os, sys
from pathlib import Path
from suasion.params import Ingest
from suasion.votes.ingest import ingest
from suasion.world.votes import Drawing

slow = Drawing.read
def read(self):  # so that the parent meets it in the middle
    import time
    time.sleep(0.01)
    return slow(self)
Drawing.read = read
settings = Ingest.model_validate_json(sys.argv[1])
ingest(settings, Path(sys.argv[2]), seed=3, threads=2, work=Path(sys.argv[3]), batch=11)
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    ingest(options(WORLD), tmp_path / "whole", seed=3)
    work, out = tmp_path / "work", tmp_path / "out"
    for parts in (2, 5):  # killed twice: the second run goes on from the first
        command = [sys.executable, "-c", CHILD, options(WORLD).model_dump_json(), str(out), str(work)]
        child = subprocess.Popen(command, cwd=ROOT)
        while len([*work.glob("parts/part-*")]) < parts:
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    done = len([*work.glob("parts/part-*")])
    assert not out.exists()
    before = {path: path.stat().st_mtime_ns for path in work.glob("parts/part-*")}
    with next(work.glob("images/images-*.tar")).open("ab") as tar:  # what was written and not committed
        tar.write(b"torn" * 1000)
    ingest(options(WORLD), out, seed=3, threads=2, work=work, batch=11)
    assert 5 <= done < len([*work.glob("parts/part-*")])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_run_that_was_killed_while_it_published_is_published_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ingest(options(WORLD), tmp_path / name, seed=3, work=tmp_path / "work")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@given(prompt=strategies.text(max_size=40))
def test_comparing_prompts_twice_changes_nothing_and_ignores_case_and_spaces(prompt: str) -> None:
    assert comparable(f" {prompt}\n") == comparable(prompt)
    assert comparable(comparable(prompt).upper().lower()) == comparable(comparable(prompt).upper())


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.floats()
    | strategies.integers()
    | strategies.text(max_size=8),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=strategies.lists(strategies.fixed_dictionaries(dict.fromkeys((*COLUMNS, *MORE), JSON)), max_size=5))
def test_no_row_stops_a_run_and_none_disappears(folder: Path, tmp_path_factory: Any, rows: list[Any]) -> None:
    first = row(**dict.fromkeys(MORE))
    counts = ingest(options(source(folder, first, *rows)), tmp_path_factory.mktemp("out") / "out", seed=0)
    assert counts["rows"] == 1 + len(rows)
    assert counts["votes"] >= 1
