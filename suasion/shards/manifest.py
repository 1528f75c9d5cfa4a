"""`manifest.json`: what vouches for shards, and for itself. It is written last, so shards with one are whole.

A changed byte anywhere in it is found: it must be, byte for byte, what we would write for what it says, its own hash included.
Given up: unknown keys, and manifests of other versions.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from suasion.errors import SuasionError
from suasion.records import SPLITS

MANIFEST = "manifest.json"
LOCATION = "location.txt"
"""Beside a manifest whose shards are kept elsewhere: the URL of the folder that holds them."""

VERSION = 2
MAX_BYTES = 100_000_000
"""Of a manifest; a line for a shard takes about 160."""

_NAME = re.compile(rf"(?P<split>{'|'.join(SPLITS)})-[0-9]{{5,}}\.tar")


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

    Raises:
        SuasionError: it is of another version, or damaged.
    """
    try:
        said: Any = json.loads(content) if len(content) <= MAX_BYTES else None
        version = said["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _damaged("no JSON object with a version", where) from None
    if version != VERSION:
        raise SuasionError(
            f"a manifest of version {str(version)[:40]!r}, where {VERSION} is expected",
            where=where,
            do="write the shards again with this version of suasion: dvc repro shard",
        )
    try:
        shards = [_shard(row) for row in said["shards"]]
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(f"no shard: {str(error)[:200]}", where) from None
    if len({shard.name for shard in shards}) < len(shards):
        raise _damaged("a shard twice", where)
    if dump(shards) != content:
        raise _damaged("a content whose own hash is another", where)
    return shards


def _shard(row: Any) -> ShardFile:
    shard = ShardFile(**row)
    found = _NAME.fullmatch(shard.name)
    counts = (shard.samples, shard.bytes)
    if found is None or found["split"] != shard.split or any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(f"{row}")
    if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
        raise ValueError(f"{row}")
    return shard


def _damaged(what: str, where: str) -> SuasionError:
    return SuasionError(
        f"the manifest has {what}", where=where, do="restore it: dvc checkout, or dvc repro --force shard"
    )
