import hashlib
import tarfile
from pathlib import Path

import polars as pl
import pytest

from suasion.errors import SuasionError
from suasion.images import pack
from suasion.images.check import Checked
from suasion.images.pack import ImagePack, PackedImages
from suasion.records import IMAGE, write


def checked(content: bytes) -> Checked:
    return Checked(hashlib.sha256(content).hexdigest(), 1, 1, "png", bytes(24))


IMAGES = [bytes([number]) * (100 * number + 1) for number in range(40)]


def whole(folder: Path) -> dict[str, bytes]:
    with ImagePack(folder) as packed:
        for content in [*IMAGES, *IMAGES]:
            packed.add(content, checked(content))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tar_reads_what_is_packed_and_so_do_we(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "TAR_BYTES", 20_000)
    files = whole(tmp_path / "images")
    assert len(files) > 3
    found = []
    for path in sorted((tmp_path / "images").glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    assert found == [(f"{checked(content).sha256}.png", content) for content in IMAGES]
    packed = PackedImages(tmp_path / "images")
    assert all(packed.read(checked(content).sha256) == content for content in IMAGES)


@pytest.mark.parametrize("done", [0, 1, 17, 39, 40])
def test_going_on_after_any_image_gives_the_same_bytes(
    tmp_path: Path, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "TAR_BYTES", 20_000)
    expected = whole(tmp_path / "whole")
    folder = tmp_path / "images"
    with pytest.raises(KeyboardInterrupt), ImagePack(folder) as packed:
        for number, content in enumerate(IMAGES):
            if number == done:
                rows = [*packed.rows]
            packed.add(content, checked(content))
        rows = [*packed.rows] if done == len(IMAGES) else rows
        raise KeyboardInterrupt
    committed = pl.DataFrame(rows, schema=IMAGE, orient="row")
    with ImagePack(folder, committed=committed) as packed:
        for content in IMAGES[done:]:
            packed.add(content, checked(content))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


@pytest.mark.parametrize(
    "at",
    [("../images-00000.tar", 512, 1), ("/etc/passwd", 0, 10), ("images-00000.tar", -1, 1), ("images-00000.tar", 0, -1)],
)
def test_an_index_names_nothing_outside_its_pack(tmp_path: Path, at: tuple[str, int, int]) -> None:
    whole(tmp_path / "images")
    path = tmp_path / "images" / "index.parquet"
    changes = [pl.lit(value).alias(name) for name, value in zip(("tar", "offset", "size"), at, strict=True)]
    write(pl.read_parquet(path).with_columns(changes), path, IMAGE)
    with pytest.raises(SuasionError, match="which can be in no pack"):
        PackedImages(tmp_path / "images")
