import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from suasion.images.phash import BITS, BYTES, hamming, phash


def picture(seed: int) -> Image.Image:
    """A picture with large and small coloured shapes on a gradient."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((240, 180), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = rng.integers(0, 200), rng.integers(0, 150), rng.integers(10, 80)
        draw.ellipse((x, y, x + size, y + size), fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return image


def bits(first: Image.Image, second: Image.Image) -> int:
    rows = [np.frombuffer(phash(image), np.uint8)[None] for image in (first, second)]
    return int(hamming(*rows)[0])


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


COPIES = {
    "same": lambda image: image,
    "jpeg": lambda image: encoded(image, "JPEG", 60),
    "webp": lambda image: encoded(image, "WEBP", 60),
    "small": lambda image: encoded(image.resize((120, 90), Image.Resampling.LANCZOS), "JPEG", 80),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.04),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_at_most_eight_bits_away(name: str) -> None:
    assert max(bits(picture(seed), COPIES[name](picture(seed))) for seed in range(30)) <= (0 if name == "same" else 8)


def test_other_pictures_are_far_away() -> None:
    hashes = np.array([np.frombuffer(phash(picture(seed)), np.uint8) for seed in range(60)])
    first, second = np.triu_indices(len(hashes), 1)
    assert hamming(hashes[first], hashes[second]).min() > 8


def test_a_change_of_colour_alone_is_seen() -> None:
    grey, red, blue = (Image.new("RGB", (64, 64), (90, 90, 90)) for _ in range(3))
    ImageDraw.Draw(red).ellipse((8, 8, 40, 40), fill=(200, 60, 60))
    ImageDraw.Draw(blue).ellipse((8, 8, 40, 40), fill=(60, 95, 235))  # much the same brightness
    assert bits(red, blue) > 8
    assert bits(red, grey) > 8


def test_every_mode_and_size_has_a_hash_of_the_same_length() -> None:
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"):
        for size in ((1, 1), (1, 90), (300, 2)):
            assert len(phash(Image.new(mode, size))) == BYTES == BITS // 8


def test_what_cannot_be_seen_is_white() -> None:
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert phash(clear) == phash(Image.new("RGB", (40, 40), "white"))
