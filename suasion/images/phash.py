"""A perceptual hash that sees colour: images that people take for one have hashes a few bits apart.

192 bits: 64 of brightness (the low frequencies of a cosine transform against their median: Zauner, *Implementation and
benchmarking of perceptual image hash functions*, 2010) and 128 of colour (mean Cb and Cr of a 4 x 4 grid, each against four
levels, so that a larger change of colour flips more bits). A hash of brightness alone takes an image and its copy in other
colours for one. Given up: crops, mirrors and rotations; they change the hash.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

BYTES = 24
BITS = 8 * BYTES

_SIDE = 32
_GREY_STEP = 8.0  # coefficients of the transform are rounded to it: what is under it is noise
_COLOUR_LEVELS = np.array([-24.0, -8.0, 8.0, 24.0])  # Cb and Cr around neutral


def phash(image: "Image") -> bytes:
    """The hash of `image` (any mode and size), `BYTES` long; transparent pixels count as white."""
    from scipy.fft import dctn  # who only compares hashes need not wait for it, nor for Pillow

    small = _flat(image).convert("YCbCr")
    luma, *colours = np.moveaxis(np.asarray(small, dtype=np.float64), 2, 0)
    low = np.round(dctn(luma, norm="ortho")[:8, :8].ravel() / _GREY_STEP)
    low[0] = np.median(low[1:])  # the mean brightness says nothing about what is shown
    brightness = low > np.median(low[1:])
    cells = np.stack(colours).reshape(2, 4, _SIDE // 4, 4, _SIDE // 4).mean(axis=(2, 4)) - 128.0
    colour = cells[..., None] > _COLOUR_LEVELS
    return np.packbits(np.concatenate([brightness, colour.ravel()])).tobytes()


def hamming(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many bits differ, row by row: two arrays (n, 24) uint8 give (n,) uint8."""
    found: np.ndarray = np.bitwise_count(np.bitwise_xor(first, second)).sum(axis=1, dtype=np.uint8)
    return found


def _flat(image: "Image") -> "Image":
    """RGB, 32 pixels a side, without transparency."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        flat = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(flat, layer).convert("RGB")
    return image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=4.0)
