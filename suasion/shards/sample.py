"""One pair with its images, as a shard holds it; images stay bytes until someone asks to see them.

Given up: files of several pictures (animations, and the MPO of some cameras), which nobody could say the votes were about.
"""

import io
import warnings
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, UnidentifiedImageError

from suasion.errors import SuasionError

MAX_PIXELS = 20_000_000
"""Of an image, by its header, before anything is decoded."""

MAX_SCANS = 100
"""Of a JPEG: each is 40 bytes that cost a pass over all pixels, 25 ms at `MAX_PIXELS`. Encoders make about ten."""

# Pillow warns of large images before we have looked at their size; we refuse at our own cap, before anything is decoded.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
_SCAN = b"\xff\xda"  # its marker; within a scan, a zero follows every 0xff


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair with its images: `pair` has the columns of `records.PAIR`; scenes are null where nobody knows them.

    `kind_a` and `kind_b` are jpg, png or webp: what the images' members are called, and the only thing they are read as.
    `shard` is where errors say the images are.
    """

    pair: dict[str, Any]
    image_a: bytes
    image_b: bytes
    scene_a: str | None
    scene_b: str | None
    kind_a: str = "jpg"
    kind_b: str = "jpg"
    shard: str = field(default="", compare=False)

    def open_a(self) -> Image.Image:
        """Image A, decoded, RGB. Raises `SuasionError` where it has more than `MAX_PIXELS` or is damaged."""
        return self._open(self.image_a, "a", self.kind_a)

    def open_b(self) -> Image.Image:
        """Image B, decoded, RGB. Raises `SuasionError` where it has more than `MAX_PIXELS` or is damaged."""
        return self._open(self.image_b, "b", self.kind_b)

    def check(self) -> "Sample":
        """This sample, if both images' headers say that they can be decoded in bounds; no pixel is decoded.

        Raises:
            SuasionError: one has more than `MAX_PIXELS`, or is not what its name says.
        """
        self._open(self.image_a, "a", self.kind_a, load=False)
        self._open(self.image_b, "b", self.kind_b, load=False)
        return self

    def _open(self, content: bytes, side: str, kind: str, *, load: bool = True) -> Image.Image:
        name, wanted = f"{self.pair['pair_id']}.{side}.{kind}", _FORMATS[kind]
        try:
            with Image.open(io.BytesIO(content), formats=(wanted,)) as image:
                _check(image, wanted, content)
                return image.convert("RGB") if load else image
        except UnidentifiedImageError:
            what = f"no {wanted} of one picture"
        except Image.DecompressionBombError as error:
            what = f"an image that is too large: {error}"
        except Exception as error:  # decoders meet damaged data with errors of every kind
            what = f"a damaged {wanted}: {type(error).__name__}: {str(error)[:200]!r}"
        raise SuasionError(
            f"{name} is {what}",
            where=self.shard or name,
            do="write the shards again from sound images: dvc repro shard",
        )


def _check(image: Image.Image, wanted: str, content: bytes) -> None:
    """Raise what cannot be decoded in bounds, or is more than one picture."""
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, {MAX_PIXELS} are allowed")
    if image.format != wanted or getattr(image, "is_animated", False):
        raise UnidentifiedImageError
    if wanted == "JPEG" and content.count(_SCAN) > MAX_SCANS:
        raise Image.DecompressionBombError(f"{content.count(_SCAN)} scans, {MAX_SCANS} are allowed")
