"""Writes one shard: samples in order, hashed as they pass, written aside, flushed to the disk, renamed.

While one lot of bytes is hashed the lot before it is written, by a thread, so a shard takes as long as the slower of the two.
Imports little, because every writer process imports it.
"""

import ctypes
import hashlib
import mmap
import os
import select
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from suasion.errors import SuasionError
from suasion.shards.jpeg import Stored, as_jpeg
from suasion.shards.manifest import ShardFile
from suasion.shards.tar import END, header, padding

LOT = 2_000_000
"""Bytes that are written at a time: measured, four million take twice as long."""

_SYNC_FILE_RANGE_WRITE = 2
_MAX_VECTOR = 1024  # buffers of one call
_MAX_OPEN = 32  # tars of a pack


def end_with(stage: int) -> None:
    """In a process that writes: end when process `stage` ends, however that ends.

    The parent of a writer is the server that it was forked from, and that goes on for as long as there are writers.
    """
    try:
        watched = os.pidfd_open(stage)
    except ProcessLookupError:
        os._exit(1)

    def wait() -> None:
        select.select([watched], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Row(NamedTuple):
    """A sample to write: its key, its JSON, its two images."""

    key: str
    json: bytes
    a: Stored
    b: Stored


def write_shard(path: Path, split: str, rows: Sequence[Row], max_side: int) -> ShardFile:
    """Write `rows` as the shard `path`, which is there whole or not at all; the same rows give the same bytes.

    Raises:
        SuasionError: a pack does not hold an image that its index names.
    """
    aside = path.with_name(f".{path.name}.tmp")
    packs, rest = _Packs(), b""  # what is small goes with the small that comes next
    with _Out(aside) as out:
        for row in rows:
            a = as_jpeg(packs.read(row.a), max_side, fits=row.a.fits)
            b = as_jpeg(packs.read(row.b), max_side, fits=row.b.fits)
            key, said, sizes = row.key.encode(), row.json, (len(a), len(b), len(row.json))
            out.put(rest + header(key + b".a.jpg", sizes[0]))
            out.put(a)
            out.put(padding(sizes[0]) + header(key + b".b.jpg", sizes[1]))
            out.put(b)
            rest = padding(sizes[1]) + header(key + b".json", sizes[2]) + said + padding(sizes[2])
        out.put(rest + END)
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return ShardFile(path.name, split, len(rows), out.size, out.digest.hexdigest())


class _Out:
    """A tar that is being written; on the disk when the context is left."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.digest, self.size = hashlib.sha256(), 0
        self._lot: list[bytes | memoryview] = []
        self._held = 0
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def __enter__(self) -> "_Out":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
                os.fsync(self.file)
        finally:
            self._thread.shutdown(wait=True)
            os.close(self.file)

    def put(self, content: bytes | memoryview) -> None:
        self.digest.update(content)
        self._lot.append(content)
        self.size += len(content)
        self._held += len(content)
        if self._held >= LOT:
            self._flush()

    def _flush(self) -> None:
        self._wait()
        self._written = self._thread.submit(_write_all, self.file, self._lot)
        self._lot, self._held = [], 0

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()


def _write_all(file: int, buffers: Sequence[bytes | memoryview]) -> None:
    for start in range(0, len(buffers), _MAX_VECTOR):
        some = buffers[start : start + _MAX_VECTOR]
        written, wanted = os.writev(file, some), sum(map(len, some))
        rest = b"".join(some)[written:] if written < wanted else b""
        while rest:
            rest = rest[os.write(file, rest) :]
    _start_writing(file)


def _start_writing(file: int) -> None:
    """Ask the kernel to bring to the disk what it has: else all the waiting comes at the end, with nothing left to hash."""
    start = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux alone has it
    if start is not None:
        start(file, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


class _Packs:
    """Reads images of packs without copying them; a few tars are under memory maps at a time."""

    def __init__(self) -> None:
        self.maps: dict[str, memoryview] = {}

    def read(self, image: Stored) -> memoryview:
        tar = self.maps.get(image.tar)
        if tar is None:
            if len(self.maps) >= _MAX_OPEN:
                self.maps.clear()  # a map ends with the last view of it
            with open(image.tar, "rb") as file:
                tar = self.maps[image.tar] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        content = tar[image.offset : image.offset + image.size]
        if len(content) != image.size:
            raise SuasionError(
                f"{len(content)} bytes of an image at byte {image.offset} where its index has {image.size}",
                where=image.tar,
                do="restore the pack: dvc checkout, or dvc repro --force ingest",
            )
        return content
