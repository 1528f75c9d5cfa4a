"""Pictures of examples, small enough that a page of many stays a file that one can send."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape
from PIL import Image

from suasion.shards.sample import Sample

FILE = 4_900_000  # bytes of a report at most
CARD = 1600  # bytes that the markup around an example's text takes
MOST = 12_000  # bytes of a picture, where there is room
LEAST = 600
SIDES = (256, 192, 160, 128, 96, 64, 48, 32)  # pixels of the longer side


def room(texts: Sequence[str], taken: int) -> int:
    """Bytes that a picture may take, two for each of `texts`: what an example says. `taken` bytes are other pages."""
    left = FILE - taken - sum(len(escape(text).encode()) + CARD for text in texts)
    return max(LEAST, min(MOST, left * 3 // 4 // max(1, 2 * len(texts))))  # base64 makes four bytes of three


def with_pictures(
    examples: Sequence[dict[str, Any]], samples: Mapping[str, Sample], texts: Sequence[str], taken: int
) -> list[dict[str, Any]]:
    """`examples`, each with the pictures of its `pair_id` in `samples`, if it is there; `texts` and `taken` as for `room`."""
    most = room(texts, taken)
    return [
        example | (pictures(samples[example["pair_id"]], most) if example["pair_id"] in samples else {})
        for example in examples
    ]


def pictures(sample: Sample, most: int) -> dict[str, Any]:
    """`thumbnail_a` and `thumbnail_b` as data URLs of at most `most` bytes before encoding, and `small_a`, `small_b`."""
    found: dict[str, Any] = {}
    for side, image in (("a", sample.open_a()), ("b", sample.open_b())):
        found[f"thumbnail_{side}"] = thumbnail(image, most)
        found[f"small_{side}"] = max(image.size) <= 64  # of the world: drawn with its pixels, and not blurred
    return found


def thumbnail(image: Image.Image, most: int) -> str:
    """A WebP of at most `most` bytes, of the largest of `SIDES` that allows it; no picture is made larger."""
    image, likely = image.copy(), float(SIDES[0])
    for side in SIDES:
        if side > likely and side != SIDES[-1]:
            continue
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.save(buffer, format="WEBP", quality=80, method=4)
        if buffer.tell() <= most:
            break
        likely = max(image.size) * (most / buffer.tell()) ** 0.5  # bytes shrink no faster than pixels
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
