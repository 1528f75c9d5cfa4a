"""One pair with its images, as a shard holds it; images stay bytes until someone asks to see them."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from suasion.errors import SuasionError

MAX_PIXELS = 20_000_000
"""Of an image, by its header, before anything is decoded."""

_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair with its images: `pair` has the columns of `records.PAIR`; scenes are null where nobody knows them.

    `kind_a` and `kind_b` are jpg, png or webp: what the images' members are called, and the only thing they are read as.
    """

    pair: dict[str, Any]
    image_a: bytes
    image_b: bytes
    scene_a: str | None
    scene_b: str | None
    kind_a: str = "jpg"
    kind_b: str = "jpg"

    def open_a(self) -> Image.Image:
        """Image A, decoded, RGB. Raises `SuasionError` where it has more than `MAX_PIXELS` or is damaged."""
        return self._open(self.image_a, "a", self.kind_a).convert("RGB")

    def open_b(self) -> Image.Image:
        """Image B, decoded, RGB. Raises `SuasionError` where it has more than `MAX_PIXELS` or is damaged."""
        return self._open(self.image_b, "b", self.kind_b).convert("RGB")

    def check(self) -> "Sample":
        """This sample, if both images' headers say that they can be decoded in bounds; no pixel is decoded.

        Raises:
            SuasionError: one has more than `MAX_PIXELS`, or is not what its name says.
        """
        self._open(self.image_a, "a", self.kind_a, load=False)
        self._open(self.image_b, "b", self.kind_b, load=False)
        return self

    def _open(self, content: bytes, side: str, kind: str, *, load: bool = True) -> Image.Image:
        name = f"{self.pair['pair_id']}.{side}.{kind}"
        try:
            image = Image.open(io.BytesIO(content), formats=(_FORMATS[kind],))
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, {MAX_PIXELS} are allowed")
            if load:
                image.load()
        except Image.DecompressionBombError as error:
            what = f"an image that is too large: {error}"
        except Exception as error:  # decoders meet damaged data with errors of every kind
            what = f"an image that is no {_FORMATS[kind]}, or damaged: {str(error)[:200]}"
        else:
            return image
        raise SuasionError(
            f"{name} is {what}", where=name, do="write the shards again from sound images: dvc repro shard"
        )
