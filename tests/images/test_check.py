import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given, strategies
from PIL import Image

from suasion.images.check import BadImage, check_image


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size and whose pixels never come."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT"


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_size_and_format_are_told(kind: str, name: str) -> None:
    found = check_image(encoded(kind), max_pixels=600)
    assert (found.width, found.height, found.format) == (30, 20, name)
    assert len(found.sha256) == 64
    assert len(found.phash) == 24


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "image_format"),
        (b"GIF89a" + b"\0" * 100, "image_format"),
        (png(30_000, 30_000), "image_too_large"),
        (png(2_000, 2_000), "image_too_large"),
        (png(5_000, 10), "image_too_long"),
        (encoded("JPEG")[:300], "image_corrupt"),
        (encoded("PNG")[:60], "image_corrupt"),
    ],
)
def test_what_cannot_be_used_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        check_image(content, max_pixels=1_000_000)
    assert caught.value.reason == reason


def test_an_image_with_a_short_side_is_too_small() -> None:
    assert check_image(encoded("PNG"), max_pixels=600, min_side=20).height == 20
    with pytest.raises(BadImage) as caught:
        check_image(encoded("PNG"), max_pixels=600, min_side=21)
    assert caught.value.reason == "image_too_small"


@given(at=strategies.integers(min_value=8, max_value=79), value=strategies.binary(min_size=1, max_size=4))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damage_is_never_an_error_of_another_kind(kind: str, at: int, value: bytes) -> None:
    content = encoded(kind)
    with contextlib.suppress(BadImage):
        check_image(content[:at] + value + content[at + len(value) :], max_pixels=10_000)
