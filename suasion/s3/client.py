"""s3fs with one way to try again: until a total deadline, with growing random pauses, and only what can succeed.

All of s3fs's requests go through `_call_s3`, so that is the one place for it; the libraries' own retries are off, or the
deadline would not hold. Imported when an `s3://` place is met, since s3fs takes half a second. Given up: public buckets
without credentials, and versions of objects.
"""

import asyncio
import io
import logging
import os
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from botocore import exceptions as boto
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from suasion.s3.errors import ShortBodyError, explained, may_pass, said, status, too_late

T = TypeVar("T")

WHOLE = 16 * 2**20  # bytes; a body up to here is read within the attempt that asked for it
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds
SILENCE = 1 / 8  # of the deadline without a byte of the answer, and an attempt is given up
ATTEMPT = 1 / 2  # of the deadline, and it is given up anyhow
GRACE = 10.0  # seconds for what is done once more after a failure: asking why, and aborting an upload
LOUD_AFTER = 3  # attempts

_log = logging.getLogger("suasion.storage")
_connected: dict[tuple[Any, ...], "S3"] = {}


class Body:
    """A body that has arrived, read as s3fs reads one that comes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    async def read(self, size: int | None = -1) -> bytes:
        return self._content.read(size)

    def close(self) -> None:
        self._content.close()


class S3(S3FileSystem):
    """s3fs whose every request, its body included, is tried again until `deadline` seconds have passed.

    Listings are never cached.

    Raises, from all methods: what `suasion.s3.errors.explained` says, and `SuasionError` after the deadline.
    """

    def __init__(self, *args: Any, deadline: float, **kwargs: Any) -> None:
        self.deadline = deadline
        silence = max(deadline * SILENCE, 0.1)
        settings = {
            "retries": {"total_max_attempts": 1},
            "connect_timeout": silence,
            "read_timeout": silence,
            "max_pool_connections": 32,
            "tcp_keepalive": True,
        }
        more = {"use_listings_cache": False, "default_block_size": WHOLE // 2}
        super().__init__(*args, config_kwargs=settings, **more, **kwargs)

    async def request(self, method: str, *more: Any, **kwargs: Any) -> Any:
        """The answer to one of S3's requests, by botocore's name for it."""

        async def attempt() -> Any:
            answer = await self.ask(method, *more, **kwargs)
            if "Body" in answer and answer["ContentLength"] <= WHOLE:
                answer["Body"] = Body(await whole(answer))
            return answer

        return await self.insist(attempt, where(kwargs))

    _call_s3 = request
    call_s3 = sync_wrapper(request)  # s3fs's own is bound to s3fs's own _call_s3

    async def ask(self, method: str, *more: Any, **kwargs: Any) -> Any:
        """One attempt of a request, with botocore's errors."""
        await self.set_session()
        function = getattr(await self.get_s3(kwargs.get("Bucket")), method)
        try:
            return await function(**self._get_s3_method_kwargs(function, *more, **kwargs))
        except boto.ClientError as error:
            if not method.startswith("head_") or status(error) >= 500:
                raise
            raise await self._reason(error, kwargs) from None

    async def _reason(self, error: Exception, kwargs: dict[str, Any]) -> Exception:
        """The answer to a HEAD has no body and does not say what is wrong; that to a GET of the same does."""
        try:
            if kwargs.get("Key"):
                asked = self.ask("get_object", Bucket=kwargs["Bucket"], Key=kwargs["Key"], Range="bytes=0-0")
            else:
                asked = self.ask("list_objects_v2", Bucket=kwargs["Bucket"], MaxKeys=1)
            answer = await asyncio.wait_for(asked, GRACE)
            if "Body" in answer:
                answer["Body"].close()
        except boto.ClientError as reason:
            return reason if status(reason) < 500 and status(reason) != 416 else error
        except Exception as other:
            if not may_pass(other):
                raise
        return error

    async def insist(self, attempt: Callable[[], Awaitable[T]], where: str, deadline: float | None = None) -> T:
        """The result of `attempt`, tried again after what may pass, until the deadline.

        Raises:
            SuasionError, ...: `explained` of what cannot pass, at once; `too_late` at the deadline.
        """
        deadline = deadline or self.deadline
        started = time.monotonic()
        until = started + deadline
        tries = 0
        while True:
            tries += 1
            try:
                limit = min(until - time.monotonic(), deadline * ATTEMPT)
                return await asyncio.wait_for(attempt(), max(limit, 0.01))
            except Exception as error:
                at = f"{where} at {self.endpoint()}"
                if not may_pass(error):
                    raise explained(error, at) from None
                pause = random.uniform(0.1, 1) * min(LONGEST_PAUSE, FIRST_PAUSE * 1.7**tries)
                left = until - time.monotonic()
                if pause >= left:
                    raise too_late(error, at, tries, time.monotonic() - started) from None
                if tries >= LOUD_AFTER:
                    _log.warning("%s: attempt %d: %s; trying again for %.0f s", at, tries, said(error), left)
            await asyncio.sleep(pause)

    def endpoint(self) -> str:
        """The server that is asked, without user and query."""
        named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        url = named if self._s3 is None else str(self._s3.meta.endpoint_url)
        return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])


def where(kwargs: dict[str, Any]) -> str:
    """The place that a request is about."""
    return f"s3://{kwargs.get('Bucket', '')}/{kwargs.get('Key') or kwargs.get('Prefix') or ''}"


async def whole(answer: Any) -> bytes:
    """The body of an answer.

    Raises:
        ShortBodyError: it has not the length that the answer announced.
    """
    content: bytes = await answer["Body"].read()
    if len(content) != answer["ContentLength"]:
        raise ShortBodyError(f"{len(content)} bytes came of {answer['ContentLength']}")
    return content


def connect(deadline: float) -> S3:
    """The client of this process for the credentials and the server that the environment names now.

    One per process, because connections and thread of a parent are not a fork's; and without a lock, which a fork could find
    locked for ever: at worst two are made.
    """
    named = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    key = (os.getpid(), deadline, hash(named))
    if key not in _connected:
        _connected[key] = S3(deadline=deadline, skip_instance_cache=True)
    return _connected[key]


def run(s3: S3, coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, from any thread; interrupted (Ctrl-C), it has time to abort what it began."""
    ended = threading.Event()

    async def watched() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(watched(), s3.loop)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            ended.wait(GRACE)
        raise
