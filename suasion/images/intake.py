"""Reads and checks images of a source with several threads; every image once, results in the order of the question.

A remote storage is waited for, not worked for: more images of one are on their way than there are threads that check. Given
up: processes instead of threads (Pillow, zlib and hashing let other threads run while they work).
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from suasion.errors import SuasionError
from suasion.images.check import BadImage, Checked, check_image

READERS = 16
"""Images of a remote storage that are on their way at a time."""

_AHEAD = 4  # images a thread may be ahead of who asks: what is read and not yet stored is that many files
_FAR_AHEAD = 2 * READERS  # the same for a remote storage, all threads together


class Readable(Protocol):
    """An image somewhere; see `suasion.votes.sources.ImageRef`."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


def key_of(image: Readable, source: str) -> bytes:
    """What tells images apart before they are read: where they are. 16 bytes."""
    said = "\0".join((source, str(getattr(image, "root", "")), image.name))
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).digest()


def readers(threads: int) -> ThreadPoolExecutor:
    """A pool for `check_all`."""
    return ThreadPoolExecutor(max(threads, READERS), thread_name_prefix="images")


def check_all(
    images: Iterable[Readable], pool: ThreadPoolExecutor, *, threads: int, max_pixels: int, min_side: int
) -> Iterator[tuple[bytes, Checked | BadImage]]:
    """Bytes and what is known of them, or no bytes and what is wrong, for each of `images` in their order.

    The `pool` is of `readers(threads)`; `threads` images are checked at a time.

    Raises:
        SuasionError: a storage cannot be reached. A file that is not there is a `BadImage` (`image_missing`).
    """

    checking = threading.Semaphore(threads)

    def look(image: Readable) -> tuple[bytes, Checked | BadImage]:
        try:
            content = _read(image)
            with checking:
                return content, check_image(content, max_pixels=max_pixels, min_side=min_side)
        except BadImage as bad:
            name = image.name.encode("utf-8", "replace").decode()
            return b"", BadImage(bad.reason, f"{name}: {bad.detail}"[:300] if bad.detail else name[:300])

    near, far = threads * _AHEAD, max(threads * _AHEAD, _FAR_AHEAD)
    waiting: deque[Future[tuple[bytes, Checked | BadImage]]] = deque()
    try:
        for image in images:
            waiting.append(pool.submit(look, image))
            if len(waiting) >= (far if getattr(image, "remote", False) else near):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _read(image: Readable) -> bytes:
    try:
        return image.read()
    except SuasionError:
        raise  # it says more than we know
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
