"""Shards as an attacker would make them, and a manifest that vouches for them.

The attacker writes the manifest too, so hashes and sizes are right: what is refused is refused for what it is.
"""

import hashlib
import io
import os
import pickle
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.shards import Sample, ShardDataset
from suasion.shards.manifest import ShardFile, dump
from suasion.shards.tar import BLOCK, END, header, padding
from tests.shards.pairs import pair

NAME = "test-00000.tar"
FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "checksum": (148, 156),
    "type": (156, 157),
    "linkname": (157, 257),
    "magic": (257, 263),
    "version": (263, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "major": (329, 337),
    "minor": (337, 345),
    "prefix": (345, 500),
    "rest": (500, 512),
}
"""Where the fields of a ustar header are."""


def picture(kind: str = "JPEG", size: tuple[int, int] = (24, 16), seed: int = 0, **options: Any) -> bytes:
    """Noise as a file of Pillow's format `kind`."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format=kind, **options)
    return buffer.getvalue()


def row(key: str, **changes: Any) -> dict[str, Any]:
    """What the JSON of a sample says, in its order."""
    values = pair(key, "a" * 64, "b" * 64, split="test", scene_a=None, scene_b=None) | changes
    return dict(sorted(values.items()))


def said(key: str, **changes: Any) -> bytes:
    return orjson.dumps(row(key, **changes))


def member(name: str | bytes, content: bytes = b"", **fields: bytes) -> bytes:
    """Header, content and padding of a member; `fields` of the header are overwritten and its checksum made right."""
    name = name.encode() if isinstance(name, str) else name
    head = header(b"x.json", min(len(content), 1_000_000))
    if len(content) != min(len(content), 1_000_000):
        fields = {"size": b"%011o\0" % len(content)} | fields
    return edited(head, **({"name": name} | fields)) + content + padding(len(content))


def edited(head: bytes, **fields: bytes) -> bytes:
    """`head` with other `fields`; the checksum is made right, unless it is one of them."""
    changed = bytearray(head)
    for field, value in fields.items():
        start, stop = FIELDS[field]
        assert len(value) <= stop - start
        changed[start:stop] = value.ljust(stop - start, b"\0")
    if "checksum" not in fields:
        changed[148:156] = b" " * 8
        changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def sample(key: str = "x", a: bytes | None = None, b: bytes | None = None, json: bytes | None = None) -> bytes:
    """The members of a good sample, or of one with another content."""
    return (
        member(f"{key}.a.jpg", picture(seed=1) if a is None else a)
        + member(f"{key}.b.jpg", picture(seed=2) if b is None else b)
        + member(f"{key}.json", said(key) if json is None else json)
    )


def vouch(folder: Path, content: bytes, *, samples: int = 1) -> Path:
    """Make `content` the one shard in `folder`, with a manifest that believes it; returns the shard's path."""
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(content)
    shard = ShardFile(NAME, "test", samples, len(content), hashlib.sha256(content).hexdigest())
    (folder / "manifest.json").write_bytes(dump([shard]))
    return folder / NAME


class Trap:
    """An object whose pickle makes the file `path` when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.path),)


def trap(path: Path) -> bytes:
    """A pickle that makes the file `path` when something loads it."""
    return pickle.dumps(Trap(path))


def png(width: int, height: int, data: bytes = b"", *chunks: tuple[bytes, bytes]) -> bytes:
    """An RGB PNG of this size by its header, with `data` as its compressed pixels, and `chunks` before them."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    )


def bomb_png(side: int = 13_000) -> bytes:
    """A PNG of one colour: 483 MiB of pixels at this size, in a file of half a megabyte."""
    squeeze = zlib.compressobj(1)
    line = bytes(1 + 3 * side) * 100
    parts = [squeeze.compress(line) for _ in range(side // 100)]
    return png(side, side, b"".join([*parts, squeeze.flush()]))


def bomb_jpeg(side: int = 13_000) -> bytes:
    """A JPEG whose header claims that many pixels a side."""
    content = bytearray(picture("JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(content)


def bomb_webp(side: int = 13_000) -> bytes:
    """A lossless WebP whose header claims that many pixels a side."""
    content = bytearray(picture("WEBP", lossless=True))
    at = content.index(b"VP8L") + 9
    bits = int.from_bytes(content[at : at + 4], "little") >> 28 << 28 | side - 1 | side - 1 << 14
    content[at : at + 4] = bits.to_bytes(4, "little")
    return bytes(content)


def blocks(tar: bytes) -> list[bytes]:
    return [tar[at : at + BLOCK] for at in range(0, len(tar), BLOCK)]


def whole(members: Iterable[bytes]) -> bytes:
    return b"".join([*members, END])


def read(folder: Path) -> list[Sample]:
    """The samples of the shard in `folder`, their images looked at."""
    return [found.check() for found in ShardDataset(folder, "test")]


def refused(folder: Path, what: str = "", *, at: bool = True) -> SuasionError:
    """The error of reading `folder`; it names the shard, where it is, what to do, and at which byte."""
    with pytest.raises(SuasionError, match=what) as caught:
        read(folder)
    error = caught.value
    assert error.where == str(folder / NAME)
    assert error.do
    assert not at or re.search(r"at byte \d+$", error.what), error.what
    assert "\n" not in error.what
    assert "\0" not in error.what
    return error
