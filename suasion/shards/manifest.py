"""`manifest.json`: what vouches for shards, and for itself. It is written last, so shards with one are whole.

A changed byte anywhere in it is found: it must be, byte for byte, what we would write for what it says, its own hash included.
Given up: unknown keys, and manifests of other versions.
"""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from suasion.errors import SuasionError

MANIFEST = "manifest.json"
LOCATION = "location.txt"
"""Beside a manifest whose shards are kept elsewhere: the URL of the folder that holds them."""

URL = re.compile(r"s3://[^/\s]+(/\S*)?")
"""Of such a place: no other scheme, of the many that fsspec knows, is followed because a file says so."""

VERSION = 2
MAX_BYTES = 20_000_000
"""Of a manifest; a line for a shard takes about 160."""

_VERSION = re.compile(rb'\{\s*"version": ?([0-9]{1,9})')


class ShardFile(NamedTuple):
    """A shard: the name of its file, its split, the number of samples, its size in bytes, and its sha256 in hex."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.tar"


def dump(shards: Sequence[ShardFile]) -> bytes:
    """The manifest of `shards`, a line for each."""
    rows = ",\n".join(f"    {json.dumps(shard._asdict())}" for shard in shards)
    body = f'{{\n  "version": {VERSION},\n  "shards": [\n{rows}\n  ],\n'
    return f'{body}  "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'.encode()


def load(content: bytes, where: str) -> list[ShardFile]:
    """The shards of the manifest `content`, in its order.

    Rows are found by their form, so nothing in between is understood, and whatever it is makes the content another.

    Raises:
        SuasionError: it is of another version, or damaged; says at which byte.
    """
    if len(content) > MAX_BYTES:
        raise damaged(f"over {MAX_BYTES} bytes", where)
    version = _VERSION.match(content)
    if version is None:
        raise damaged("no version at byte 0", where)
    if int(version[1]) != VERSION:
        raise SuasionError(
            f"a manifest of version {int(version[1])}, where {VERSION} is expected",
            where=where,
            do="write the shards again with this version of suasion: dvc repro shard",
        )
    rows = _row().findall(content.decode("ascii", "replace"))
    shards = [ShardFile(name, split, int(samples), int(size), sha256) for name, split, samples, size, sha256 in rows]
    right = dump(shards)
    if right != content:
        pairs = enumerate(zip(right, content, strict=False))
        same = next((at for at, (x, y) in pairs if x != y), min(len(right), len(content)))
        raise damaged(f"other bytes than its shards and their hash have, from byte {same} on", where)
    if len({shard.name for shard in shards}) < len(shards):
        raise damaged("a shard twice", where)
    return shards


@functools.cache
def _row() -> re.Pattern[str]:
    """A shard's line. Not made on import: it needs polars, for which processes that write a shard need not wait."""
    from suasion.records import SPLITS

    return re.compile(
        rf'    \{{"name": "(({"|".join(SPLITS)})-[0-9]{{5,9}}\.tar)", "split": "\2", '
        r'"samples": ([0-9]{1,9}), "bytes": ([0-9]{1,15}), "sha256": "([0-9a-f]{64})"\}'
    )


def damaged(what: str, where: str) -> SuasionError:
    return SuasionError(
        f"the manifest has {what}", where=where, do="restore it: dvc checkout, or dvc repro --force shard"
    )
