"""Objects in parts: several at a time, each tried again alone, never more than a few of them in memory.

The size of a part and their number are what was fastest on loopback (docs/storage.md). Given up: links so slow, below some
3 Mbit/s, that the parts under way do not pass within the deadline.
"""

import asyncio
import contextlib
import math
import os
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from suasion.errors import SuasionError
from suasion.s3.client import GRACE, S3, where
from suasion.s3.errors import ShortBodyError

T = TypeVar("T")

PART = 8 * 2**20  # bytes
PARALLEL = 4  # parts of one object that are under way at a time
MAX_PARTS = 10_000  # S3's limit
_CHUNK = 2**18
_CALL = "suasion-put"  # in an object's metadata: which call wrote it


async def read_range(s3: S3, bucket: str, key: str, start: int, end: int | None) -> bytes:
    """The bytes from `start` to before `end`, or as many as there are.

    Raises:
        FileNotFoundError: no such object.
        SuasionError: it changed while it was read, and as `S3.request` does.
    """
    named = {"Bucket": bucket, "Key": key}
    if end is not None and end <= start:
        await s3.request("head_object", **named)
        return b""

    async def part(at: int) -> tuple[bytes, int, str]:
        stop = at + PART if end is None else min(at + PART, end)
        answer = await s3.request("get_object", Range=f"bytes={at}-{stop - 1}", **named)
        return await answer["Body"].read(), _total(answer), answer["ETag"]

    try:
        first, total, etag = await part(start)
    except EOFError:
        return b""
    last = total if end is None else min(end, total)
    others = await _together(part, range(start + len(first), last, PART))
    if any(tag != etag for _, _, tag in others):
        raise _changed(named)
    return b"".join([first, *(content for content, _, _ in others)])


async def download(s3: S3, bucket: str, key: str, descriptor: int, size: int) -> None:
    """Write an object of `size` bytes into an open file, from its beginning.

    Raises:
        FileNotFoundError: no such object.
        SuasionError: it has another size, it changed meanwhile, and as `S3.request` does.
        OSError: of the file.
    """
    named = {"Bucket": bucket, "Key": key}
    tags = set()

    async def attempt(start: int, stop: int) -> None:
        answer = await s3.ask("get_object", Range=f"bytes={start}-{stop - 1}", **named)
        try:
            _require_size(_total(answer), size, named)
            at = start
            async for chunk in answer["Body"].iter_chunks(_CHUNK):
                if at + len(chunk) > stop:
                    break
                at += _write(descriptor, chunk, at)
            if at != stop:
                raise ShortBodyError(f"{at - start} bytes came of {stop - start}")
            tags.add(answer["ETag"])
        finally:
            answer["Body"].close()

    async def part(start: int) -> None:
        stop = min(start + PART, size)
        try:
            await s3.insist(lambda: attempt(start, stop), where(named))
        except EOFError:
            _require_size((await s3.request("head_object", **named))["ContentLength"], size, named)

    if size:
        await _together(part, range(0, size, PART))
    else:
        _require_size((await s3.request("head_object", **named))["ContentLength"], 0, named)
    if len(tags) > 1:
        raise _changed(named)


async def upload(s3: S3, content: bytes | Path, bucket: str, key: str, *, new: bool) -> None:
    """Put an object; with `new`, only where there is none.

    An answer may get lost on its way, and the next attempt then finds the object of the first. So the object's metadata
    say which call wrote it.

    Raises:
        FileExistsError: `new`, and there is one.
        SuasionError: as `S3.request` does.
    """
    named = {"Bucket": bucket, "Key": key}
    call = secrets.token_hex(16)
    begin = {"Metadata": {_CALL: call}, **named}
    end = {"IfNoneMatch": "*"} if new else {}
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    try:
        if size <= PART:
            body = content if isinstance(content, bytes) else content.read_bytes()
            await s3.request("put_object", Body=body, **begin, **end)
        else:
            await _upload_parts(s3, content, size, begin, end)
    except (FileExistsError, FileNotFoundError) as error:
        with contextlib.suppress(FileNotFoundError):
            if (await s3.request("head_object", **named))["Metadata"].get(_CALL) == call:
                return
        if isinstance(error, FileExistsError):
            raise
        raise SuasionError(
            "the upload was ended by others before it was whole",
            where=where(named),
            do="run again; a rule of the bucket may abort uploads too soon",
        ) from None


async def _upload_parts(s3: S3, content: bytes | Path, size: int, begin: dict[str, Any], end: dict[str, str]) -> None:
    named = {name: begin[name] for name in ("Bucket", "Key")}
    if end and await _is_there(s3, named):
        raise FileExistsError(where(named))  # before its parts have come all the way
    named["UploadId"] = (await s3.request("create_multipart_upload", **begin))["UploadId"]
    length = max(PART, math.ceil(size / MAX_PARTS))

    async def part(number: int) -> dict[str, Any]:
        body = _slice(content, (number - 1) * length, length)
        answer = await s3.request("upload_part", PartNumber=number, Body=body, **named)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        parts = await _together(part, range(1, math.ceil(size / length) + 1))
        await s3.request("complete_multipart_upload", MultipartUpload={"Parts": parts}, **named, **end)
    except BaseException:  # also when it is interrupted: parts without an object cost money, and nobody sees them
        with contextlib.suppress(FileNotFoundError, SuasionError):
            await s3.insist(lambda: s3.ask("abort_multipart_upload", **named), where(named), GRACE)
        raise


async def _is_there(s3: S3, named: dict[str, str]) -> bool:
    try:
        await s3.request("head_object", **named)
    except FileNotFoundError:
        return False
    return True


async def _together(work: Callable[[int], Coroutine[Any, Any, T]], numbers: range) -> list[T]:
    """What `work` gives for each number, `PARALLEL` at a time; the first that fails ends the others."""
    free = asyncio.Semaphore(PARALLEL)

    async def one(number: int) -> T:
        async with free:
            return await work(number)

    tasks = [asyncio.ensure_future(one(number)) for number in numbers]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _slice(content: bytes | Path, start: int, length: int) -> bytes:
    if isinstance(content, bytes):
        return content[start : start + length]
    with content.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _write(descriptor: int, chunk: bytes, at: int) -> int:
    rest = memoryview(chunk)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written
    return len(chunk)


def _total(answer: Any) -> int:
    """Size of the object that a range was asked of."""
    return int(answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"])


def _require_size(found: int, size: int, named: dict[str, str]) -> None:
    if found != size:
        raise SuasionError(
            f"{found} bytes where {size} are expected",
            where=where(named),
            do="it is not what its manifest says: remove it and write it again",
        )


def _changed(named: dict[str, str]) -> SuasionError:
    return SuasionError("it changed while it was read", where=where(named), do="run again when nobody writes there")
