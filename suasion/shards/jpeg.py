"""Images as shards hold them: JPEG of a bounded side; what is one already keeps its bytes."""

import io
from typing import NamedTuple

QUALITY = 95
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame, which says how many components there are


class Stored(NamedTuple):
    """An image in a pack: the tar's path, offset and size in bytes, and whether it is a JPEG within the bounds."""

    tar: str
    offset: int
    size: int
    fits: bool


def as_jpeg(content: bytes | memoryview, max_side: int, *, fits: bool) -> bytes | memoryview:
    """`content` as RGB JPEG with at most `max_side` pixels a side; one that `fits` and has three components as it is."""
    if fits and _components(content) == 3:
        return content
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:  # what ingestion lets in
        if image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= max_side:
            return content
        shrunk = image.convert("RGB")
        shrunk.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        shrunk.save(buffer, format="JPEG", quality=QUALITY)
        return buffer.getvalue()


def most_bytes(width: int, height: int, max_side: int) -> int:
    """More than the JPEG of an image of this size takes: measured, noise takes 1.2 bytes a pixel, black and white dots 1.43."""
    scale = min(1.0, max_side / max(width, height))
    return int(1.5 * (width * scale + 8) * (height * scale + 8)) + 4096


def _components(jpeg: bytes | memoryview) -> int:
    """Components of a pixel by the header, which is found without decoding; 0 where none is found."""
    at = 2
    while at + 10 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _FRAMES:
            return jpeg[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return 0
