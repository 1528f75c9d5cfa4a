"""Changes small shards at random, and sees that each is read to what is in it or refused. Run by `test_fuzz.py`.

What is accepted is written again from what was read: it must give the same bytes, so there is no second way to write a shard,
and nothing in one that is not read. `tarfile` must see the same members. Usage: python -m tests.shards.fuzz SEED COUNT
"""

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson

from suasion.errors import SuasionError
from suasion.shards.manifest import ShardFile
from suasion.shards.shard import OpenShard
from suasion.shards.tar import BLOCK, END, BadTar, header, padding, samples
from tests.shards.hostile import FIELDS, NAME, blocks, edited, member, picture, said, sample, trap, whole

MEMORY = 100_000_000  # bytes that may be mapped on top of what is when the fuzzing begins
EXECUTED = Path("executed")

GOOD = [
    whole([sample("x"), sample("y")]),
    whole([sample("x", a=b"", b=bytes(BLOCK)), sample("y", a=bytes(2 * BLOCK - 1), b=b"b" * (BLOCK + 1))]),
    whole([sample(key, a=picture("JPEG", (2, 2)), b=b"") for key in ("a", "b", "c", "d")]),
]
SPLICES = [
    member("x.pyd", trap(EXECUTED)),
    member("z.json", trap(EXECUTED)),
    member("../z.json", b"{}"),
    member("z.a.jpg", type=b"2", linkname=b"/etc/passwd"),
    member("z.a.jpg", type=b"1", linkname=b"x.a.jpg"),
    member("z", type=b"5"),
    member("x", b"12 size=99\n", type=b"x"),
    member("g", b"20 path=/etc/passwd\n", type=b"g"),
    member("././@LongLink", b"z" * 200, type=b"L", magic=b"ustar ", version=b" \0"),
    member("z.a.jpg", type=b"S", magic=b"ustar ", version=b" \0"),
    member("z.a.jpg", picture(size=(2, 2))),
    member("z.b.png", picture("PNG", (2, 2))),
    member("z.json", said("z")),
    member("x.json", said("x")),
    sample("z", a=b"", b=b""),
    bytes(BLOCK),
    END,
    b"\x1f\x8b" + bytes(510),
]
VALUES = {
    "name": [
        b"",
        b"x.json",
        b"y.a.jpg",
        b"z.b.png",
        b"../x.json",
        b"/x.json",
        b"x.pyd",
        b"x\0.json",
        b"x" * 100,
        b"\xff",
    ],
    "size": [b"00000000000\0", b"00000000001\0", b"77777777777\0", b"-0000000001\0", b"+0000000001\0", b"0_000000001\0"]
    + [b"%011o\0" % size for size in (511, 512, 513, 1024, 1_000_000, 1_000_001, 100_000_001)]
    + [b"\x80" + bytes(10) + b"\1", b"\xff" * 12, b"          1 ", b"1\0", b""],
    "type": [bytes([kind]) for kind in b"\0001234567gxLKSDMNVXA"],
    "checksum": [b"", b"000000\0 ", b"  7777\0 ", b"-00001\0 "],
}  # of fields of a header; of others, anything
Change = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, tar: bytes) -> bytes:
    changed = bytearray(tar)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(tar))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def field(rng: random.Random, tar: bytes) -> bytes:
    parts = blocks(tar)
    at = rng.choice([number for number, block in enumerate(parts) if block[257:262] == b"ustar"] or [0])
    name = rng.choice([*FIELDS])
    start, stop = FIELDS[name]
    value = rng.choice(VALUES.get(name, [b"", b"\1", b"/", rng.randbytes(stop - start), b"7" * (stop - start - 1)]))
    if len(parts[at]) == BLOCK:
        parts[at] = edited(parts[at], **{name: value})
    return b"".join(parts)


def cut(rng: random.Random, tar: bytes) -> bytes:
    at = rng.randrange(len(tar))
    return tar[: rng.choice([at, at // BLOCK * BLOCK])]


def drop(rng: random.Random, tar: bytes) -> bytes:
    parts = blocks(tar)
    at = rng.randrange(len(parts))
    return b"".join(parts[:at] + parts[at + rng.choice([1, 1, 2, 5]) :])


def repeat(rng: random.Random, tar: bytes) -> bytes:
    parts = blocks(tar)
    at, count = rng.randrange(len(parts)), rng.choice([1, 1, 2, 5])
    to = rng.choice([at + count, rng.randrange(len(parts))])
    return b"".join(parts[:to] + parts[at : at + count] + parts[to:])


def swap(rng: random.Random, tar: bytes) -> bytes:
    parts = blocks(tar)
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]
    return b"".join(parts)


def splice(rng: random.Random, tar: bytes) -> bytes:
    at = rng.choice([rng.randrange(len(tar) // BLOCK + 1) * BLOCK, len(tar) - len(END), len(tar), 0])
    return tar[:at] + rng.choice(SPLICES) + tar[at:]


def arrange(rng: random.Random, tar: bytes) -> bytes:
    """Samples in another order, or other contents in them: a good shard of other bytes, if `tar` is a good one."""
    try:
        found = [(p.key, tar[p.a : p.a + p.a_size], tar[p.b : p.b + p.b_size]) for p in samples(tar)]
    except BadTar:
        return tar
    rng.shuffle(found)
    others = [b"", rng.randbytes(600), picture(size=(3, 3))]
    made = [sample(key, rng.choice([a, b, *others]), rng.choice([a, b, *others])) for key, a, b in found]
    return whole(made[rng.choice([0, 0, 1]) :])


CHANGES: list[Change] = [flip, flip, field, field, field, cut, drop, repeat, swap, splice, splice, arrange]


def check(tar: bytes, good: bytes) -> str:
    """`refused`, or `read` to exactly what is in it; everything else is an error of ours."""
    shard = ShardFile(NAME, "test", len(samples(good)), len(good), hashlib.sha256(good).hexdigest())
    assert opens(tar, shard, verify=True) == (tar == good), "a manifest of other bytes was enough"
    bad: BadTar | None = None
    try:
        places = samples(tar)
    except BadTar as error:
        bad = error
    if bad:
        assert 0 <= bad.offset <= len(tar)
        assert not opens(tar, ShardFile(NAME, "test", 2, len(tar), "0" * 64), verify=False), "refused, and read"
        return "refused"
    members = []
    for place in places:
        members += [
            (f"{place.key}.a.{place.kind_a}", tar[place.a : place.a + place.a_size]),
            (f"{place.key}.b.{place.kind_b}", tar[place.b : place.b + place.b_size]),
            (f"{place.key}.json", tar[place.json : place.json + place.json_size]),
        ]
    again = [header(name.encode(), len(content)) + content + padding(len(content)) for name, content in members]
    assert b"".join([*again, END]) == tar, "something is there that was not read"
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert [(info.name, archive.extractfile(info).read()) for info in archive] == members  # type: ignore[union-attr]
    assert opens(tar, ShardFile(NAME, "test", len(places), len(tar), "0" * 64), verify=False)
    return "read"


def opens(tar: bytes, shard: ShardFile, *, verify: bool) -> bool:
    """Whether `tar` opens as `shard`; its samples are looked at, whatever they hold."""
    file = os.memfd_create(NAME)
    refused: list[SuasionError] = []
    try:
        os.write(file, tar)
        opened = OpenShard(f"/{NAME}", shard, file, verify=verify)
    except SuasionError as error:
        refused.append(error)
    finally:
        os.close(file)
    if not refused:
        for number in range(len(opened.places)):
            with contextlib.suppress(SuasionError):
                found = opened.sample(number).check()
                row = found.pair | {"scene_a": found.scene_a, "scene_b": found.scene_b}
                assert orjson.dumps(row, option=orjson.OPT_SORT_KEYS) in tar
        opened.close()
    assert all(error.what.startswith(f"{NAME} holds ") for error in refused)
    return not refused


def status(name: str) -> int:
    """A size in kilobytes, of those that the kernel keeps of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main(seed: int, count: int) -> None:
    rng = random.Random(seed)
    for good in GOOD:
        assert check(good, good) == "read"
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, limit = status("VmHWM"), status("VmSize") * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(count):
        good = tar = rng.choice(GOOD)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            tar = rng.choice(CHANGES)(rng, tar) or bytes(1)
        began = time.perf_counter()
        found[check(tar, good)] += 1
        slowest = max(slowest, time.perf_counter() - began)
    print(
        json.dumps({**found, "slowest": slowest, "kilobytes": status("VmHWM") - before, "executed": EXECUTED.exists()})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
