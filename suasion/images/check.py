"""Looks at an image file without trusting it: type and size from the header first, then whether it decodes."""

import hashlib
import io
import warnings
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from suasion.images.phash import phash

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
MAX_BYTES = 100_000_000
"""Of an image file: no reader reads more of one than a byte over it."""

MAX_ASPECT = 100
"""How often the short side fits into the long one at most: Qwen2.5-VL's processor refuses more than 200."""

# Pillow warns of large images before we have looked at their size; we refuse at our own cap, before anything is decoded.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Checked(NamedTuple):
    """What is known of an image that can be used; `format` is jpg, png or webp, `phash` of `suasion.images.phash`."""

    sha256: str
    width: int
    height: int
    format: str
    phash: bytes


class BadImage(Exception):
    """An image that cannot be used: `reason` is a drop's reason code, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def check_image(content: bytes, *, max_pixels: int, min_side: int = 1) -> Checked:
    """What `content` shows, in numbers; it is decoded once, to be sure that it can be.

    Raises:
        BadImage: no JPEG, PNG or WebP (`image_format`), over `max_pixels` by its header or over `MAX_BYTES`
            (`image_too_large`), a strip (`image_too_long`), a side under `min_side` pixels (`image_too_small`), or damaged
            (`image_corrupt`).
    """
    if len(content) > MAX_BYTES:
        raise BadImage("image_too_large", f"over {MAX_BYTES} bytes")
    try:
        with Image.open(io.BytesIO(content), formats=tuple(FORMATS)) as image:
            width, height, kind = image.width, image.height, FORMATS[image.format or ""]
            _check_size(width, height, max_pixels, min_side)
            image.load()
            seen = phash(image)
    except UnidentifiedImageError:
        raise BadImage("image_format", f"{len(content)} bytes that are no JPEG, PNG or WebP") from None
    except Image.DecompressionBombError as error:  # Pillow's own cap, far above ours, raised before the size is known
        raise BadImage("image_too_large", str(error)) from None
    except BadImage:
        raise
    except Exception as error:  # decoders meet damaged data with errors of every kind
        raise BadImage("image_corrupt", f"{error}"[:200]) from None
    return Checked(hashlib.sha256(content).hexdigest(), width, height, kind, seen)


def _check_size(width: int, height: int, max_pixels: int, min_side: int) -> None:
    if width * height > max_pixels:
        raise BadImage("image_too_large", f"{width} x {height} pixels, {max_pixels} allowed")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage("image_too_long", f"{width} x {height} pixels; one side may be {MAX_ASPECT} times the other")
    if min(width, height) < min_side:
        raise BadImage("image_too_small", f"{width} x {height} pixels; each side needs {min_side}")
