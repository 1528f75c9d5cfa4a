"""The one form of tar that shards have: ustar, regular files, fixed owner, mode and time, two empty blocks at the end.

Written by hand because `tarfile` takes longer for a header than the disk for the image behind it. Read by writing: a header
that is not, byte for byte, what we would have written for its name and size is none of ours, so links, devices, long names,
sparse files, extended headers and compressed streams never come as far as being understood. Given up: every other tar.
"""

import re
from typing import NamedTuple, Protocol

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_NAME = 100
"""Bytes of a member's name."""

MAX_IMAGE, MAX_JSON = 100_000_000, 1_000_000
"""Bytes of a member: a sample is read whole."""

_MODE = b"0000644\0" + b"0000000\0" * 2  # mode, owner, group
_TIME = b"0" * 11 + b"\0"
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(32 * 2 + 8 * 2 + 155 + 12)  # regular file, no link, nobody
_SUM = sum(_MODE) + sum(_TIME) + sum(_REST) + 8 * ord(" ")
_NAME = re.compile(rb"([0-9A-Za-z_-]+)\.([ab]\.(?:jpg|png|webp)|json)\0")
_PARTS = [b"json", *(side + b"." + kind for side in (b"a", b"b") for kind in (b"jpg", b"png", b"webp"))]
_LETTERS = {part: sum(b"." + part) for part in _PARTS}
_ZEROS = bytes(BLOCK)

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a pipe",
    b"g": "an extended header",
    b"x": "an extended header",
    b"L": "a long name",
    b"K": "a long link",
    b"S": "a sparse file",
}
_STREAMS = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd", b"PK": "zip"}


class Buffer(Protocol):
    """Bytes that can be sliced without reading all of them: `bytes`, or `mmap.mmap`."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: slice, /) -> bytes: ...


class Place(NamedTuple):
    """Where a sample's members are in its shard: the offset and size of each content; kinds are `jpg`, `png`, `webp`."""

    key: str
    kind_a: str
    kind_b: str
    a: int
    a_size: int
    b: int
    b_size: int
    json: int
    json_size: int


class BadTar(Exception):
    """A tar that is not of our form: `what` was found at byte `offset`."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} at byte {offset}")
        self.what, self.offset = what, offset


def header(name: bytes, size: int) -> bytes:
    """The header, 512 bytes, of a regular file: the bytes that `tarfile` writes in its ustar format.

    Raises:
        ValueError: the name is empty or longer than `MAX_NAME` bytes, or the size is out of bounds.
    """
    most = MAX_JSON if name.endswith(b".json") else MAX_IMAGE
    if not 0 < len(name) <= MAX_NAME or not 0 <= size <= most:
        raise ValueError(
            f"a member {name!r} of {size} bytes; {MAX_NAME} bytes of name and {most} of content are allowed"
        )
    return _header(name, sum(name), size)


def _header(name: bytes, letters: int, size: int) -> bytes:
    """`letters` is the sum of the name's bytes, which the checksum needs and a sample's members mostly share."""
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (_SUM + letters + sum(digits))
    return b"".join((name.ljust(100, b"\0"), _MODE, digits, _TIME, checksum, _REST))


def padding(size: int) -> bytes:
    """The zeros behind a content of `size` bytes, up to a whole block."""
    return bytes(-size % BLOCK)


def samples(tar: Buffer) -> list[Place]:
    """Where the samples of a shard are, in their order: of each its `a` and `b` image and its `json`, next to each other.

    Headers alone are read. Nothing else may be in the shard, and no sample twice.

    Raises:
        BadTar: something else is; says what, and where.
    """
    found: list[Place] = []
    keys: set[bytes] = set()
    at, last = 0, len(tar) - len(END)
    while at < last:
        start, key, letters = at, b"", 0
        members: list[tuple[bytes, bytes, int, int]] = []
        while len(members) < 3 and at < last:
            member = _member(tar, at, last, key, letters)
            if not members:
                key, letters = member[0], sum(member[0])
            members.append(member)
            at = member[2] + member[3] + -member[3] % BLOCK
        if len(members) < 3:
            raise BadTar(f"the end of the shard before sample {key.decode()!r} is whole", len(tar) - len(END))
        (_, a, a_at, a_size), (key_b, b, b_at, b_size), (key_json, said, json_at, json_size) = members
        if not (key == key_b == key_json and a[:1] == b"a" and b[:1] == b"b" and said == b"json"):
            names = ", ".join(f"{member[0].decode()}.{member[1].decode()}" for member in members)
            raise BadTar(f"no whole sample ({names})", start)
        if key in keys:
            raise BadTar(f"sample {key.decode()!r} a second time", start)
        keys.add(key)
        kinds = a[2:].decode(), b[2:].decode()
        found.append(Place(key.decode(), *kinds, a_at, a_size, b_at, b_size, json_at, json_size))
    if at != last or tar[max(at, 0) : len(tar)] != END:
        raise BadTar("no end of a shard (two empty blocks, and nothing after them)", max(min(at, last), 0))
    return found


def _member(tar: Buffer, at: int, last: int, known: bytes, letters: int) -> tuple[bytes, bytes, int, int]:
    """Key, part (`a.jpg`, ..., `json`), offset and size of the content of the member whose header is at `at`.

    `letters` is the sum of the bytes of `known`, the key that is expected.
    """
    head = tar[at : at + BLOCK]
    named = _NAME.match(head)
    if named is None:
        raise BadTar(_what(head), at)
    key, part = named.groups()
    try:
        size = int(head[124:135], 8)
        right = size >= 0 and head == _header(
            head[: named.end() - 1], (letters if key == known else sum(key)) + _LETTERS[part], size
        )
    except ValueError:
        right = False
    if not right or size > (MAX_JSON if part == b"json" else MAX_IMAGE):
        raise BadTar(_what(head), at)
    at += BLOCK
    end = at + size + -size % BLOCK
    if end > last:
        inside = f"inside member {key.decode()}.{part.decode()}, whose {size} bytes start at {at}"
        raise BadTar(f"the end of the shard {inside}", len(tar))
    if tar[at + size : end] != _ZEROS[: end - at - size]:
        raise BadTar(f"something behind the content of member {key.decode()}.{part.decode()}", at + size)
    return key, part, at, size


def _what(head: bytes) -> str:
    """What a header that is none of ours seems to be."""
    if len(head) < BLOCK:
        return f"{len(head)} bytes, which are no header"
    if head[:2] in _STREAMS:
        return f"{_STREAMS[head[:2]]} data instead of a tar"
    if head.count(0) == BLOCK:
        return "an empty block, as at the end of a tar,"
    if head[257:262] != b"ustar":
        return "no header of a ustar member"
    name = head[:100].rstrip(b"\0").decode("utf-8", "backslashreplace")
    if head[156:157] == b"0" and _size(head) > MAX_JSON:
        return f"member {name!r} of {_size(head)} bytes, which is too large or none of ours,"
    kind = _KINDS.get(head[156:157], "a member" if head[156:157] in b"0\0" else f"a member of type {head[156:157]!r}")
    return f"{kind} {name!r}, which is none of ours,"


def _size(head: bytes) -> int:
    digits = head[124:136].strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else 0
