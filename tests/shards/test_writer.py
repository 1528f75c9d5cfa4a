import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.images.check import check_image
from suasion.images.pack import ImagePack, PackedImages
from suasion.params import Shard
from suasion.records import PAIR
from suasion.shards import ShardDataset
from suasion.shards.jpeg import as_jpeg, most_bytes
from suasion.shards.writer import write_shards
from tests.shards.pairs import SETTINGS, make_pairs, pair


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_manifest_counts_and_hashes(shards: Path) -> None:
    manifest = json.loads((shards / "manifest.json").read_text())
    assert [(shard["name"], shard["samples"]) for shard in manifest["shards"]] == [
        ("train-00000.tar", 3),
        ("train-00001.tar", 3),
        ("train-00002.tar", 1),
        ("test-00000.tar", 2),
    ]
    for shard in manifest["shards"]:
        content = (shards / shard["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["bytes"], shard["sha256"])


def test_stock_webdataset_reads_them(shards: Path) -> None:
    import webdataset

    found = list(webdataset.WebDataset(str(shards / "train-00000.tar"), shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in found] == ["pair-0000", "pair-0001", "pair-0002"]
    assert found[0]["a.jpg"].size == (64, 64)
    assert found[0]["json"]["prompt"] == 'a "cat" <b>ü</b>'


def test_stock_datasets_reads_them(shards: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    files = {"train": sorted(str(path) for path in shards.glob("train-*.tar"))}
    table = load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == 7
    assert table[0]["a.jpg"].size == (64, 64)
    assert table[0]["json"]["pair_id"] == "pair-0000"


def test_the_same_pairs_give_the_same_bytes_by_any_number_of_processes(
    pairs: pl.DataFrame, images: Path, tmp_path: Path
) -> None:
    shuffled = pairs.sample(fraction=1.0, shuffle=True, seed=1)
    write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "one")
    write_shards(shuffled, PackedImages(images), {}, SETTINGS, tmp_path / "three", workers=3)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "three")


def test_shards_are_bounded_in_bytes_and_in_samples(tmp_path: Path) -> None:
    pairs = make_pairs(tmp_path / "images", train=30)
    one = write_shards(pairs, PackedImages(tmp_path / "images"), {}, SETTINGS, tmp_path / "few")[0].bytes // 3
    settings = SETTINGS.model_copy(update={"samples_per_shard": 20, "bytes_per_shard": 5 * one})
    found = write_shards(pairs, PackedImages(tmp_path / "images"), {}, settings, tmp_path / "shards")
    assert sum(shard.samples for shard in found) == 30
    assert max(shard.bytes for shard in found) <= 5 * one
    assert max(shard.samples for shard in found) >= 4, "bounds are used"
    tiny = SETTINGS.model_copy(update={"bytes_per_shard": 1})
    found = write_shards(pairs, PackedImages(tmp_path / "images"), {}, tiny, tmp_path / "tiny")
    assert [shard.samples for shard in found] == [1] * 30, "a pair that is larger than the bound has a shard of its own"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_images_that_are_encoded_anew_stay_within_the_bound_too(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = []
    with ImagePack(tmp_path / "images") as pack:
        for index in range(12):
            found = []
            for _ in "ab":
                buffer = io.BytesIO()  # small as it came, large as JPEG: few colours without order
                dots = Image.fromarray((rng.integers(0, 2, (150, 200)) * 255).astype(np.uint8))
                dots.save(buffer, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
                checked = check_image(buffer.getvalue(), max_pixels=10**6)
                pack.add(buffer.getvalue(), checked)
                found.append(checked.sha256)
            rows.append(pair(f"pair-{index}", *found))
    settings = Shard(samples_per_shard=100, bytes_per_shard=500_000, max_side=512, location=None)
    table = pl.DataFrame(rows, schema=PAIR)
    shards = write_shards(table, PackedImages(tmp_path / "images"), {}, settings, tmp_path / "shards")
    if kind != "JPEG":  # a grey JPEG is one within the bounds by all that the index knows
        assert max(shard.bytes for shard in shards) <= 500_000
    assert len(shards) > 1
    assert {sample.open_a().mode for sample in ShardDataset(tmp_path / "shards", "train")} == {"RGB"}


def test_a_large_or_foreign_image_becomes_a_small_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (400, 200), (255, 0, 0, 128)).save(buffer, format="PNG")
    with Image.open(io.BytesIO(as_jpeg(buffer.getvalue(), 100, fits=False))) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (100, 50), "RGB")


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_only_rgb_jpegs_keep_their_bytes(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (40, 20)).save(buffer, format="JPEG", progressive=True)
    found = as_jpeg(memoryview(buffer.getvalue()), 100, fits=True)
    assert (found == buffer.getvalue()) == (mode == "RGB")
    with Image.open(io.BytesIO(found)) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (300, 200), (1000, 3)])
def test_no_jpeg_takes_more_than_was_planned(size: tuple[int, int]) -> None:
    dots = np.random.default_rng(0).integers(0, 2, (size[1], size[0], 3)).astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(dots).save(buffer, format="PNG")
    assert len(as_jpeg(buffer.getvalue(), 256, fits=False)) <= most_bytes(*size, 256)


def test_an_interrupted_run_goes_on_at_the_first_unfinished_shard(
    pairs: pl.DataFrame, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    whole = write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "whole", work=work)
    kept = (work / "train-00000.tar").stat().st_ino
    for name in ("train-00001.tar.json", "train-00002.tar", "test-00000.tar"):  # as if killed; and one file is damaged
        (work / name).unlink()
    (work / "test-00000.tar").write_bytes(b"x" * 100)
    (work / ".train-00001.tar.tmp").write_bytes(b"half")
    assert write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "again", work=work) == whole
    assert hashes(tmp_path / "again") == hashes(tmp_path / "whole")
    assert (work / "train-00000.tar").stat().st_ino == kept
    assert "1 of 4 shards are written already" in capsys.readouterr().out


def write_slowly(pairs: pl.DataFrame, images: Path, work: Path, out: Path) -> None:
    os.setsid()
    write_shards(pairs, PackedImages(images), {}, SETTINGS, out, workers=2, work=work)


def of_session(leader: int) -> list[str]:
    """Command lines of the live processes whose session `leader` has opened."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append((folder / "cmdline").read_text())
    return found


def test_killed_between_shards_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    images, work = tmp_path / "images", tmp_path / "work"
    pairs = make_pairs(images, train=150)
    write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "undisturbed")
    resumed = 0
    for wanted in (1, 20):
        process = multiprocessing.get_context("spawn").Process(
            target=write_slowly, args=(pairs, images, work, tmp_path / "killed")
        )
        process.start()
        deadline = time.monotonic() + 60
        while process.is_alive() and len([*work.glob("*.json")]) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        before = len([*work.glob("*.json")])
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)  # its workers must end by themselves
        process.join()
        while left := of_session(process.pid):
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.01)
        resumed += before > 0
    assert not (tmp_path / "killed").exists(), "published before it was whole"
    write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "end", work=work)
    assert hashes(tmp_path / "end") == hashes(tmp_path / "undisturbed")
    assert resumed


def test_an_image_that_is_not_in_the_pack_is_one_clear_error(pairs: pl.DataFrame, images: Path, tmp_path: Path) -> None:
    other = pairs.with_columns(image_b=pl.lit("0" * 64))
    with pytest.raises(SuasionError, match=r"image 0{64} of pair pair-0000 is not in the pack"):
        write_shards(other, PackedImages(images), {}, SETTINGS, tmp_path / "shards")


def test_a_pack_that_was_cut_short_is_one_clear_error(pairs: pl.DataFrame, images: Path, tmp_path: Path) -> None:
    (tar,) = images.glob("*.tar")
    os.truncate(tar, tar.stat().st_size // 2)
    for workers in (1, 2):
        with pytest.raises(SuasionError, match=r"bytes of an image at byte \d+ where its index has"):
            write_shards(pairs, PackedImages(images), {}, SETTINGS, tmp_path / "shards", workers=workers)
    assert not (tmp_path / "shards").exists()


def test_an_id_that_is_no_name_of_a_file_is_refused(pairs: pl.DataFrame, images: Path, tmp_path: Path) -> None:
    other = pairs.with_columns(pair_id=pl.lit("../") + pl.col("pair_id"))
    with pytest.raises(SuasionError, match=r"ids that cannot be names of files.*\.\./pair-0000"):
        write_shards(other, PackedImages(images), {}, SETTINGS, tmp_path / "shards")
