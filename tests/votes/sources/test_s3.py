"""Votes, images and evaluation sets in a bucket: all that comes of them is, byte for byte, what comes of them on a disk."""

import csv
import itertools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies

from suasion import storage
from suasion.errors import SuasionError
from suasion.params import ROOT, Columns, EvaluationSet, Ingest, PublicSource, TableSource, load_params
from suasion.votes.ingest import ingest
from suasion.votes.profile import make_profile, renew_snapshots
from suasion.votes.sources import BadRow, RawVote, files, reader_of
from suasion.votes.sources.files import as_image, rows, snapshot_of
from suasion.world.scenes import draw, encode, random_scene
from tests.proxy import proxied, schedule
from tests.s3 import Bucket

IMAGES = ("image_a", "image_b")
COLUMNS = {name: name for name in ("prompt", *IMAGES, "choice", "annotator_id")}
NOT_THERE = [
    "../out.jpg",
    "gone.jpg",
    "",
    ".",
    "img",
    "img/",
    "a\0b",
    "\ud800",
    "x" * 3000,
    "/etc/hostname",
    "s3://other/1.jpg",
]
THERE = ["img/1.jpg", "./img//2.jpg", "img/../img/3.jpg", "img/ü +%2F?#\n\u200d.jpg", "cut.jpg", "text.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Votes on images that are there, or not, or broken, or have strange names; and an evaluation set."""
    folder = tmp_path / "here" / "mine"
    (folder / "img").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*THERE[:4], "../out.jpg"):
        (folder / name).write_bytes(encode(draw(random_scene(rng, groups=1), rng)))
    (folder / "cut.jpg").write_bytes((folder / THERE[0]).read_bytes()[:400])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.jpg").touch()
    names = [*THERE, "empty.jpg", *NOT_THERE]
    votes = [
        {"prompt": f"a cat {number % 5}", "image_a": names[number % len(names)], "image_b": THERE[0], "choice": "b"}
        | {"annotator_id": f"v{number % 7}"}
        for number in range(60)
    ]
    (folder / "votes.jsonl").write_text("".join(json.dumps(vote) + "\n" for vote in votes) + "no row\n")
    (folder / "bench.csv").write_text(
        "q,left,right\na dog,img/1.jpg,gone.jpg\n,img/1.jpg,img/1.jpg\na cat,img/3.jpg,cut.jpg\n"
    )
    return folder


def options(root: str, **changes: Any) -> Ingest:
    """The votes and the evaluation set below `root`; their snapshots are computed there."""
    votes, bench = f"{root}/votes.jsonl", f"{root}/bench.csv"
    given: dict[str, Any] = {"path": votes, "images": None, "encoding": "choice", "columns": Columns(**COLUMNS)}
    given |= {"name": "table", "label": "mine", "choices": {}, "snapshot": snapshot_of(votes, root, IMAGES)}
    sides = ["left", "right"]
    held_out = EvaluationSet(
        name="bench", path=bench, prompt="q", images=sides, snapshot=snapshot_of(bench, root, sides)
    )
    source = TableSource(**(given | changes))
    return Ingest(sources=[source], evaluation_sets=[held_out], max_megapixels=1.0, min_side=16)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ingestion_of_a_bucket_gives_the_bytes_of_that_of_a_folder(folder: Path, s3: Bucket, tmp_path: Path) -> None:
    here = ingest(options(str(folder)), tmp_path / "one", seed=0)
    there = ingest(options(s3.bring(folder, "deep/mine")), tmp_path / "two", seed=0, threads=3, batch=7)
    assert here == there
    assert here["votes"] > 0
    assert here["dropped"] > len(NOT_THERE)
    assert here["images"] == 4
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert {"votes.parquet", "drops.parquet", "held_out.parquet", "summary.json"} < {*files_of(tmp_path / "one")}


def as_parquet(path: Path, content: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path, row_group_size=1000)


def as_csv(path: Path, content: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*content[0]])
        writer.writeheader()
        writer.writerows(content)


def as_lines(path: Path, content: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))


@pytest.mark.parametrize(("ending", "write"), [("parquet", as_parquet), ("csv", as_csv), ("jsonl", as_lines)])
def test_files_patterns_and_folders_of_a_bucket_give_the_same_rows(
    s3: Bucket, tmp_path: Path, ending: str, write: Any
) -> None:
    """Of files that are longer than what is read at a time: no end of a row is looked for in vain, or twice."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"votes.{ending}", [{"n": str(n), "said": "ü" * (n % 99)} for n in range(10_000)])
    (tmp_path / "a" / "notes.txt").write_text("no votes")
    root = s3.bring(tmp_path, "x")
    for path in (f"a/votes.{ending}", f"*/*.{ending}", "a"):
        assert [*rows(f"{root}/{path}")] == [*rows(f"{tmp_path}/{path}")]
        assert snapshot_of(f"{root}/{path}", None, ()) == snapshot_of(f"{tmp_path}/{path}", None, ())


def test_images_of_a_bucket_are_found_as_below_a_folder_and_never_above_it(folder: Path, s3: Bucket) -> None:
    root = s3.bring(folder.parent, "top") + "/mine"  # with an image beside it
    for name in THERE:
        content = (folder / name).read_bytes()
        assert as_image(name, root).read() == as_image(name, f"{root}/").read() == content
    assert as_image(f"{root}/{THERE[0]}", root).read(), "a whole URL that leads below the root"
    for name in NOT_THERE:
        with pytest.raises(FileNotFoundError):
            as_image(name, root).read()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=strategies.text() | strategies.text(alphabet="./%?#\\\0\ud800ü"))
@example(name=".\\")  # SeaweedFS refuses what becomes `./`
def test_no_name_of_an_image_stops_a_run(s3: Bucket, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        as_image(name, f"{s3.url}/top").read()


def test_reading_an_image_of_a_bucket_has_an_end(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.server.client().put_object(Bucket=s3.name, Key="huge.jpg", Body=bytes(100_000))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    assert len(as_image("huge.jpg", s3.url).read()) == 1001


def test_public_sets_may_lie_in_a_bucket(s3: Bucket, tmp_path: Path) -> None:
    """A profile that names a folder names the same data with the bucket's URL: the snapshot stays."""
    (tmp_path / "images").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "images" / name).write_bytes(name.encode())
    line = {"pair_id": "p", "prompt": "a cat", "image_a": "images/1.jpg", "image_b": "images/2.jpg"}
    as_csv(tmp_path / "votes.csv", [line | {"model_a": "m", "model_b": "n", "annotator_id": "u", "choice": "a"}])
    snapshot = snapshot_of(f"{tmp_path}/votes.csv", str(tmp_path), IMAGES)
    there = PublicSource(name="avt", path=s3.bring(tmp_path, "avt"), snapshot=snapshot)
    (vote,) = reader_of("avt")(there, 0)
    assert isinstance(vote, RawVote)
    assert (vote.image_a.read(), vote.image_b.read()) == (b"1.jpg", b"2.jpg")


def test_rows_in_a_folder_of_the_published_layout_are_found(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    row = {"caption": "a cat", "jpg_0": b"0", "jpg_1": b"1", "label_0": 1.0, "label_1": 0.0, "has_label": True}
    as_parquet(tmp_path / "data" / "train-00000.parquet", [row])
    snapshot = snapshot_of(str(tmp_path / "data"), None, ())
    (vote,) = reader_of("pickapic")(PublicSource(name="pickapic", path=s3.bring(tmp_path, "p"), snapshot=snapshot), 0)
    assert isinstance(vote, RawVote)
    assert (vote.choice, vote.source_split, vote.image_b.read()) == ("a", "train", b"1")


def test_a_profile_of_votes_in_a_bucket_is_that_of_a_folder(
    folder: Path, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    root = s3.bring(folder, "mine")
    written, said = [], []
    for name, place in (("nearby", str(folder)), ("faraway", root)):
        make_profile(f"{place}/votes.jsonl", name, images=None, base="avt")
        said.append(capsys.readouterr().out.replace(place, "").replace(name, ""))
        written.append(Path(f"profiles/{name}.yaml").read_text().replace(place, "").replace(name, ""))
    assert said[0] == said[1]
    assert written[0] == written[1]
    before = load_params(Path("profiles/faraway.yaml")).ingest
    s3.server.client().put_object(Bucket=s3.name, Key="mine/img/1.jpg", Body=(folder / THERE[1]).read_bytes())
    with pytest.raises(SuasionError, match="the data have the snapshot"):
        ingest(before, tmp_path / "out", seed=0)
    renew_snapshots(Path("profiles/faraway.yaml"))
    assert ingest(load_params(Path("profiles/faraway.yaml")).ingest, tmp_path / "out", seed=0)["votes"] > 0


def hurry(monkeypatch: pytest.MonkeyPatch, deadline: float) -> None:
    """Storage gives up after so many seconds, instead of two minutes, and an attempt after an eighth without a byte."""
    for function in (storage.read, storage.filesystem):
        monkeypatch.setitem(function.__kwdefaults__, "deadline", deadline)


def test_a_storage_that_fails_now_and_then_changes_nothing(
    folder: Path, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, stalls, bodies cut short and resets, in one request of five: no vote is dropped for it."""
    ingest(options(str(folder)), tmp_path / "one", seed=0)
    root = s3.bring(folder, "mine")
    hurry(monkeypatch, 10.0)
    with proxied(s3.endpoint, schedule(1, rate=0.2)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        ingest(options(root), tmp_path / "two", seed=0)
    assert sum(count for what, count in proxy.done.items() if what != "passed") > 5, proxy.done
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.parametrize(("ending", "write"), [("parquet", as_parquet), ("csv", as_csv), ("jsonl", as_lines)])
@pytest.mark.parametrize("answered", [1, 2])
def test_a_storage_that_fails_in_the_middle_of_a_file_is_no_bad_row(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, write: Any, answered: int
) -> None:
    write(tmp_path / f"votes.{ending}", [{"n": random.Random(n).randbytes(600).hex()} for n in range(8000)])
    root = s3.bring(tmp_path, "x")
    hurry(monkeypatch, 0.5)
    faults = itertools.chain([None] * (answered + 1), itertools.repeat("500 InternalError"))  # first: is it there?
    with proxied(s3.endpoint, lambda *_: next(faults)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        with pytest.raises(SuasionError, match=r"timed out: tried \d+ times"):
            assert not [row for _, row in rows(f"{root}/votes.{ending}") if isinstance(row, BadRow)]


@pytest.mark.parametrize("path", ["a/votes.csv", "a", "*/votes.csv"])
def test_a_storage_that_does_not_answer_is_not_empty(s3: Bucket, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    s3.server.client().put_object(Bucket=s3.name, Key="a/votes.csv", Body=b"n\n1\n")
    hurry(monkeypatch, 0.5)
    with proxied(s3.endpoint, lambda *_: "503 SlowDown") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        with pytest.raises(SuasionError, match=r"timed out: tried \d+ times"):
            next(rows(f"{s3.url}/{path}"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong-and-planted", "the secret key is wrong"),
        ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN", "the access key is unknown"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", "the server cannot be reached"),
        ("AWS_SECRET_ACCESS_KEY", None, "no credentials"),
    ],
)
def test_what_keeps_us_from_the_bucket_is_one_clear_error(
    folder: Path,
    s3: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str | None,
    message: str,
) -> None:
    """Of the votes, and of the images alone: what cannot be looked at is not missing, so no vote is dropped."""
    root = s3.bring(folder, "mine")
    there, here = options(root), options(str(folder), images=root)
    if name == "AWS_ENDPOINT_URL_S3":  # the one that may pass
        hurry(monkeypatch, 2.0)
    monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    for asked in (there, here.model_copy(update={"evaluation_sets": []})):
        with pytest.raises(SuasionError, match=message) as caught:
            ingest(asked, tmp_path / "out", seed=0)
        assert s3.name in caught.value.where
        assert "wrong-and-planted" not in str(caught.value)
        assert s3.server.secret not in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(SuasionError, match=message):
        as_image(THERE[0], root).read()


def test_a_bucket_that_is_not_there_is_no_drop(folder: Path, s3: Bucket, tmp_path: Path) -> None:
    for changes in ({"path": "s3://not-there/votes.jsonl"}, {"images": "s3://not-there/img"}):
        with pytest.raises(SuasionError, match="there is no such bucket") as caught:
            ingest(options(str(folder), **changes), tmp_path / "out", seed=0)
        assert "not-there" in caught.value.where
    with pytest.raises(SuasionError, match="no votes file at"):
        next(rows(f"{s3.url}/nothing/here.csv"))
    with pytest.raises(SuasionError, match="no votes file at"):
        next(rows(s3.url))


def test_credentials_in_a_path_are_refused_and_not_said_again(s3: Bucket) -> None:
    for path in (
        f"s3://KEY:hush@{s3.name}/v.csv",
        f"s3://KEY:hu/sh@{s3.name}/v.csv",
        f"{s3.url}/v.csv?X-Amz-Signature=hush",
    ):
        with pytest.raises(SuasionError, match="credentials in it") as caught:
            next(rows(path))
        assert "hush" not in str(caught.value).replace("/", "")
        with pytest.raises(SuasionError, match="credentials in it"):
            as_image("1.jpg", path).read()
