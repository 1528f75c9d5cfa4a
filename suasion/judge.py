"""What a user of a released checkpoint calls: which of two images do people prefer for a prompt, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from suasion.errors import SuasionError
from suasion.images.check import BadImage, check_image

MAX_PIXELS = 20_000_000
MAX_NEW_TOKENS = 512


class Judgement(NamedTuple):
    """`choice` is a or b, or None where the model gave no answer or, in both orders, two different ones."""

    choice: str | None
    explanation: str | None
    completion: str


class Judge:
    """A released reasoner, loaded once."""

    def __init__(self, folder: Path | str) -> None:
        """Load the model in `folder`.

        Raises:
            SuasionError: no such folder, or no model in it.
        """
        from suasion.vlm.load import load_model, load_processor

        self._model, self._processor = load_model(folder), load_processor(folder)

    def compare(
        self,
        prompt: str,
        image_a: Path | str | Image.Image,
        image_b: Path | str | Image.Image,
        *,
        both_orders: bool = False,
    ) -> Judgement:
        """Which image people prefer for `prompt`, with the model's explanation (of A shown first).

        With `both_orders` the question is asked again with B shown first; two different answers are no choice.

        Raises:
            SuasionError: an empty prompt, or a file that is missing, no image, damaged, or over 20 megapixels.
        """
        from suasion.vlm.chat import parse_completion
        from suasion.vlm.generate import Request, complete

        if not prompt.strip():
            raise SuasionError("the prompt is empty", where="prompt", do="say what the images were made for")
        a, b = open_image(image_a), open_image(image_b)
        orders = [(a, b), (b, a)] if both_orders else [(a, b)]
        requests = [Request(prompt, first, second) for first, second in orders]
        texts = complete(
            self._model, self._processor, requests, max_new_tokens=MAX_NEW_TOKENS, batch_size=len(requests)
        )
        parsed = [parse_completion(text) for text in texts]
        choices = [order[parts[1] - 1] if parts else None for order, parts in zip(("ab", "ba"), parsed, strict=False)]
        agreed = choices[0] if len(set(choices)) == 1 else None
        return Judgement(agreed, parsed[0][0] if parsed[0] else None, texts[0])

    def rank(self, prompt: str, images: Sequence[Path | str | Image.Image]) -> list[int]:
        """Places in `images`, that of the one people prefer most first, from about n log2 n comparisons in both orders.

        Raises:
            SuasionError: as `compare`.
        """
        from suasion.evaluation.ranking import rank

        points = {"a": 1.0, "b": 0.0, None: 0.5}
        opened = [open_image(image) for image in images]
        return rank(opened, lambda first, second: points[self.compare(prompt, first, second, both_orders=True).choice])


def open_image(image: Path | str | Image.Image) -> Image.Image:
    """An RGB image from a file that nobody has vouched for, or an image as it is.

    Raises:
        SuasionError: the file is missing, no JPEG, PNG or WebP, damaged, or too large.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    path = Path(image)
    try:
        content = path.read_bytes()
        check_image(content, max_pixels=MAX_PIXELS)
    except OSError as error:
        raise SuasionError(f"cannot read {path.name}: {error.strerror}", where=str(path), do="check the path") from None
    except BadImage as bad:
        raise SuasionError(
            f"{path.name} cannot be used: {bad.detail}", where=str(path), do="give a JPEG, PNG or WebP"
        ) from None
    with Image.open(path) as opened:
        return opened.convert("RGB")
