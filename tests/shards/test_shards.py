import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.images.check import check_image
from suasion.images.pack import ImagePack, PackedImages
from suasion.params import Shard
from suasion.records import PAIR
from suasion.shards.reader import read_samples
from suasion.shards.writer import to_jpeg, write_shards
from suasion.world.scenes import draw, encode, random_scene

SETTINGS = Shard(samples_per_shard=3, max_side=64)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Seven training pairs and two test pairs in shards of three."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    with ImagePack(tmp_path / "images") as pack:
        for index in range(9):
            hashes = []
            for _ in "ab":
                content = encode(draw(random_scene(rng, groups=2), rng))
                checked = check_image(content, max_pixels=10_000)
                pack.add(content, checked)
                hashes.append(checked.sha256)
            rows.append(pair(f"pair-{index}", *hashes, split="train" if index < 7 else "test"))
    scenes = {rows[0]["image_a"]: "one red circle top left"}
    table = pl.DataFrame(rows, schema=PAIR)
    write_shards(table, PackedImages(tmp_path / "images"), scenes, SETTINGS, tmp_path / "shards")
    return tmp_path / "shards"


def pair(pair_id: str, image_a: str, image_b: str, **changes: Any) -> dict[str, Any]:
    values = {
        "pair_id": pair_id,
        "prompt_id": "p",
        "prompt": 'a "cat" <b>ü</b>',
        "image_a": image_a,
        "image_b": image_b,
    }
    numbers = {
        "p_a": 0.75,
        "n_votes": 4,
        "votes_a": 3,
        "votes_b": 1,
        "votes_tie": 0,
        "agreement": 0.75,
        "tie_rate": 0.0,
    }
    return values | numbers | {"model_a": None, "model_b": None, "label": "a", "source": "test"} | changes


def test_what_was_written_is_read_back(shards: Path) -> None:
    train, test = read_samples(shards, "train"), read_samples(shards, "test")
    assert [sample.pair["pair_id"] for sample in train] == [f"pair-{index}" for index in range(7)]
    assert len(test) == 2
    assert set(train[0].pair) == set(PAIR)
    assert train[0].pair["prompt"] == 'a "cat" <b>ü</b>'
    assert (train[0].scene_a, train[0].scene_b) == ("one red circle top left", None)
    assert hashlib.sha256(train[0].image_a).hexdigest() == train[0].pair["image_a"], "a small JPEG keeps its bytes"
    assert train[0].open_b().size == (64, 64)


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

    found = list(webdataset.WebDataset(str(shards / "train-00000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == ["pair-0", "pair-1", "pair-2"]
    assert {"a.jpg", "b.jpg", "json"} <= set(found[0])


def test_stock_datasets_reads_them(shards: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    files = {"train": sorted(str(path) for path in shards.glob("train-*.tar"))}
    table = load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == 7
    assert table[0]["a.jpg"].size == (64, 64)
    assert table[0]["json"]["pair_id"] == "pair-0"


def test_every_truncation_is_refused_by_name(shards: Path) -> None:
    path = shards / "test-00000.tar"
    whole = path.read_bytes()
    for cut in range(0, len(whole), 512):
        path.write_bytes(whole[:cut])
        with pytest.raises(SuasionError, match=r"test-00000\.tar holds"):
            read_samples(shards, "test")


def test_one_flipped_byte_is_refused(shards: Path) -> None:
    path = shards / "test-00000.tar"
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 997):
        content[at] ^= 1
        path.write_bytes(content)
        with pytest.raises(SuasionError, match="holds"):
            read_samples(shards, "test")
        content[at] ^= 1


def vouch_for(shards: Path, members: list[tarfile.TarInfo], content: bytes = b"{}") -> None:
    """Put a tar of `members` in place of the test shard, with a manifest that believes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    (shards / "test-00000.tar").write_bytes(buffer.getvalue())
    manifest = json.loads((shards / "manifest.json").read_text())
    manifest["shards"][-1] |= {
        "bytes": len(buffer.getvalue()),
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "samples": 1,
    }
    (shards / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["../x.json", "/x.json", "x.pkl", "x.pyd", "a/x.json", "x.json.gz", "x"])
def test_members_of_other_names_are_refused(shards: Path, name: str) -> None:
    vouch_for(shards, [tarfile.TarInfo(name)])
    with pytest.raises(SuasionError, match="none of ours"):
        read_samples(shards, "test")


def test_links_and_duplicates_and_partial_samples_are_refused(shards: Path) -> None:
    link = tarfile.TarInfo("x.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    vouch_for(shards, [link])
    with pytest.raises(SuasionError, match="none of ours"):
        read_samples(shards, "test")
    vouch_for(shards, [tarfile.TarInfo("x.json"), tarfile.TarInfo("x.json")])
    with pytest.raises(SuasionError, match="twice"):
        read_samples(shards, "test")
    vouch_for(shards, [tarfile.TarInfo("x.json"), tarfile.TarInfo("x.a.jpg")])
    with pytest.raises(SuasionError, match="incomplete"):
        read_samples(shards, "test")


def test_a_large_or_foreign_image_becomes_a_small_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (400, 200), (255, 0, 0, 128)).save(buffer, format="PNG")
    with Image.open(io.BytesIO(to_jpeg(buffer.getvalue(), 100))) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (100, 50), "RGB")


def test_no_manifest_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match=r"no manifest\.json"):
        read_samples(tmp_path, "train")
