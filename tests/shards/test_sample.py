import contextlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.shards import Sample, ShardDataset
from suasion.shards.sample import MAX_SCANS
from tests.shards.hostile import (
    NAME,
    bomb_jpeg,
    bomb_png,
    bomb_webp,
    member,
    picture,
    png,
    read,
    said,
    sample,
    trap,
    vouch,
    whole,
)

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]


def chunk_bomb(kind: bytes, start: bytes) -> bytes:
    return png(2, 2, zlib.compress(bytes(14)), (kind, start + zlib.compress(bytes(50_000_000), 1)))


def many_scans(scans: int) -> bytes:
    content = picture("JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * (scans - content.count(b"\xff\xda")) + content[-2:]


FRAMES = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]


def frames(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    FRAMES[0].save(buffer, format=kind, save_all=True, append_images=FRAMES[1:], **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "content", "what"),
    [
        ("jpg", picture("PNG"), "no JPEG"),
        ("jpg", picture("WEBP"), "no JPEG"),
        ("jpg", picture("GIF"), "no JPEG"),
        ("jpg", picture("TIFF"), "no JPEG"),
        ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch x) (w) file\n", "no JPEG"),
        ("jpg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no JPEG"),
        ("png", picture("JPEG"), "no PNG"),
        ("webp", picture("PNG"), "no WEBP"),
        ("jpg", b"", "no JPEG"),
        ("jpg", b"\xff\xd8\xff", "no JPEG"),
        ("png", b"\x89PNG\r\n\x1a\n", "no PNG"),
        ("webp", b"RIFF\0\0\0\0WEBPVP8 ", "a damaged WEBP"),
        ("png", png(0, 0), "PNG"),
        ("png", png(0, 5), "PNG"),
        ("png", png(2**31 - 1, 2**31 - 1), "too large"),
        ("png", png(2**32 - 1, 1), "too large"),
        ("png", png(5000, 4001), "too large: 5000 x 4001 pixels, 20000000 are allowed"),
        ("jpg", bomb_jpeg(5000), "too large: 5000 x 5000 pixels"),
        ("webp", bomb_webp(5000), "too large: 5000 x 5000 pixels"),
        ("jpg", bomb_jpeg(65500), "too large"),
        ("webp", bomb_webp(16384), "too large"),
        ("jpg", many_scans(MAX_SCANS + 1), f"too large: {MAX_SCANS + 1} scans, {MAX_SCANS} are allowed"),
        ("png", frames("PNG"), "no PNG of one picture"),
        ("webp", frames("WEBP"), "no WEBP of one picture"),
        ("jpg", frames("MPO"), "no JPEG of one picture"),
    ],
    ids=range(25),
)
def test_an_image_that_cannot_be_one_is_refused_by_its_header(
    tmp_path: Path, kind: str, content: bytes, what: str
) -> None:
    members = [member(f"x.a.{kind}", content), member("x.b.jpg", picture()), member("x.json", said("x"))]
    vouch(tmp_path, whole(members))
    found = [*ShardDataset(tmp_path, "test")]
    assert found[0].image_a == content, "bytes are given to who wants bytes"
    for look in (found[0].check, found[0].open_a):
        with pytest.raises(SuasionError, match=what) as caught:
            look()
        assert caught.value.what.startswith(f"x.a.{kind} is ")
        assert caught.value.where == str(tmp_path / NAME)
        assert caught.value.do
        assert " at 0x" not in caught.value.what


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_that_is_cut_is_refused_and_a_changed_one_gives_pixels_or_an_error(kind: str) -> None:
    whole_one = picture(kind)
    name = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[kind]

    def opened(content: bytes) -> Image.Image:
        return Sample({"pair_id": "x"}, content, b"", None, None, name, name).open_a()

    assert (opened(whole_one).size, opened(whole_one).mode) == ((24, 16), "RGB")
    for cut in range(0, len(whole_one) - 24, 7):  # the sums at the end of a PNG, which nobody needs to see it
        with pytest.raises(SuasionError, match=f"x.a.{name} is "):
            opened(whole_one[:cut])
    for at in range(0, len(whole_one), 3):
        changed = whole_one[:at] + bytes([whole_one[at] ^ 0x55]) + whole_one[at + 1 :]
        with contextlib.suppress(SuasionError):
            assert opened(changed).mode == "RGB"


@pytest.mark.parametrize(
    "content",
    [
        picture() + b"PK\5\6" + bytes(18),
        picture() + b"<html><script>alert(1)</script></html>",
        picture() + b"#!/bin/sh\ntouch executed\n",
        picture(exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 500),
        picture(exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
        picture(comment=b"<?php system($_GET['x']) ?>"),
        picture(icc_profile=b"\xff" * 5000),
    ],
    ids=["zip", "html", "shell", "bad exif", "turned", "comment", "bad profile"],
)
def test_a_jpeg_with_something_behind_or_beside_its_picture_is_a_jpeg_and_nothing_else(
    tmp_path: Path, content: bytes
) -> None:
    vouch(tmp_path, whole([sample(a=content)]))
    (found,) = read(tmp_path)
    assert found.open_a().tobytes() == Image.open(io.BytesIO(picture())).convert("RGB").tobytes()
    assert found.open_a().size == (24, 16), "not turned, however it was held"


def test_a_pickle_behind_a_jpeg_is_never_loaded(tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    vouch(tmp_path, whole([sample(a=picture() + trap(executed))]))
    (found,) = read(tmp_path)
    assert found.open_a().size == (24, 16)
    assert not executed.exists()


MEASURED = """
import resource, sys
from pathlib import Path
from suasion.errors import SuasionError
from suasion.shards import ShardDataset

data = ShardDataset(Path(sys.argv[1]), "test")
samples = [*data]
def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
before, size = kilobytes("VmHWM"), kilobytes("VmSize") * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 80_000_000, size + 80_000_000))
for sample in samples:
    for look in (sample.check, sample.open_a):
        try:
            look()
        except SuasionError as error:
            print(error.what)
print(kilobytes("VmHWM") - before)
"""


def test_images_that_would_fill_the_memory_are_refused_by_their_headers(tmp_path: Path) -> None:
    big = bomb_png()
    assert 13_000 * 13_000 * 3 / 2**20 > 483
    assert len(big) < 3_000_000
    images = {
        "png": big,
        "text-png": chunk_bomb(b"zTXt", b"x\0\0"),
        "more-png": chunk_bomb(b"iTXt", b"x\0\1\0\0\0"),
        "profile-png": chunk_bomb(b"iCCP", b"x\0\0"),
        "jpg": bomb_jpeg(),
        "webp": bomb_webp(),
    }
    members = []
    for key, content in images.items():
        members += [member(f"{key}.a.{key.split('-')[-1]}", content), member(f"{key}.b.jpg", picture())]
        members += [member(f"{key}.json", said(key))]
    vouch(tmp_path, whole(members), samples=len(images))
    run = [sys.executable, "-c", MEASURED, str(tmp_path)]
    found = subprocess.run(run, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stderr
    *refusals, grown = found.stdout.splitlines()
    assert len(refusals) == 2 * len(images), refusals
    for key, said_of in zip(images, refusals[::2], strict=True):
        assert said_of.startswith(f"{key}.a."), said_of
    assert "13000 x 13000 pixels" in refusals[0]
    assert int(grown) < 20_000, "kilobytes"
