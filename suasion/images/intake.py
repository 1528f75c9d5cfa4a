"""Reads and checks images of a source with several threads; every image once, results in the order of the question.

Given up: processes instead of threads (Pillow, zlib and hashing let other threads run while they work).
"""

import hashlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from suasion.errors import SuasionError
from suasion.images.check import BadImage, Checked, check_image

_AHEAD = 4  # images a thread may be ahead of who asks: what is read and not yet stored is that many files


class Readable(Protocol):
    """An image somewhere; see `suasion.votes.sources.ImageRef`."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


def key_of(image: Readable, source: str) -> bytes:
    """What tells images apart before they are read: where they are. 16 bytes."""
    said = "\0".join((source, str(getattr(image, "root", "")), image.name))
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).digest()


def check_all(
    images: Iterable[Readable], pool: ThreadPoolExecutor, *, threads: int, max_pixels: int, min_side: int
) -> Iterator[tuple[bytes, Checked | BadImage]]:
    """Bytes and what is known of them, or no bytes and what is wrong, for each of `images` in their order.

    Raises:
        SuasionError: a storage cannot be reached. A file that is not there is a `BadImage` (`image_missing`).
    """

    def look(image: Readable) -> tuple[bytes, Checked | BadImage]:
        try:
            content = _read(image)
            return content, check_image(content, max_pixels=max_pixels, min_side=min_side)
        except BadImage as bad:
            return b"", BadImage(bad.reason, f"{image.name}: {bad.detail}"[:300] if bad.detail else image.name[:300])

    waiting: deque[Future[tuple[bytes, Checked | BadImage]]] = deque()
    rest = iter(images)
    try:
        while True:
            waiting.extend(
                pool.submit(look, image) for image in itertools.islice(rest, threads * _AHEAD - len(waiting))
            )
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _read(image: Readable) -> bytes:
    try:
        return image.read()
    except (ConnectionError, TimeoutError) as error:
        problem: Exception = error
    except OSError:
        raise BadImage("image_missing", "") from None
    except Exception as error:  # every storage has errors of its own
        problem = error
    raise SuasionError(
        f"image {image.name} cannot be read: {type(problem).__name__}: {str(problem)[:200]}",
        where=str(getattr(image, "root", image.name)),
        do="look whether the storage can be reached; then run again: it goes on where it stopped",
    )
