import contextlib
import json
import os
import random
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset
from torch.utils.data import DataLoader

from suasion.errors import SuasionError
from suasion.shards import Sample, ShardDataset
from suasion.shards.manifest import ShardFile, load
from suasion.shards.shard import OpenShard
from suasion.shards.tar import BLOCK, END, BadTar, samples
from tests.shards.hostile import NAME, refused, row, said, sample, vouch, whole

pytestmark = pytest.mark.timeout(120)
GOOD = whole([sample("x"), sample("y")])


# JSON


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{}",
        b"{" * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b'"' + b"x" * 999_000 + b'"',
        b"\xef\xbb\xbf" + said("x"),
        said("x").decode().encode("utf-16"),
        said("x", prompt="ä").replace("ä".encode(), b"\xe4"),
        said("x", prompt="ä").replace("ä".encode(), b"\xed\xa0\x80"),
        said("x", prompt="ä").replace("ä".encode(), rb"\ud800"),
        said("x", prompt="ä").replace("ä".encode(), rb"\u00e4"),
        said("x") + b"\n",
        said("x") + said("x"),
        said("x").replace(b",", b", "),
        said("x").replace(b'"label":"a",', b'"label":"a","label":"b",'),
        said("x").replace(b'"label":"a",', b'"label":"b","label":"a",'),
        said("x").replace(b'"pair_id":"x",', b'"pair_id":"y","pair_id":"x",'),
        said("x").replace(b'"n_votes":4', b'"n_votes":NaN'),
        said("x").replace(b'"n_votes":4', b'"n_votes":4e400'),
        said("x").replace(b'"n_votes":4', b'"n_votes":' + b"9" * 5000),
        said("x").replace(b'"n_votes":4', b'"n_votes":4.0'),
        said("x").replace(b'"n_votes":4', b'"n_votes":true'),
        said("x").replace(b'"p_a":0.75', b'"p_a":1'),
        said("x").replace(b'"p_a":0.75', b'"p_a":null'),
        said("x").replace(b'"p_a":0.75', b'"p_a":"0.75"'),
        said("y"),
        said("x", pair_id=1),
        said("x", pair_id=["x"]),
        said("x", split="train"),
        said("x", label="c"),
        said("x", label=None),
        said("x", label=["a"]),
        said("x", prompt=None),
        said("x", prompt={"$ref": "file:///etc/passwd"}),
        said("x", scene_a=1),
        said("x", __class__="os.system"),
        json.dumps({name: value for name, value in row("x").items() if name != "p_a"}).encode(),
        json.dumps(dict(reversed(row("x").items())), separators=(",", ":"), ensure_ascii=False).encode(),
    ],
    ids=range(44),
)
def test_a_json_that_is_not_the_row_of_its_pair_is_refused(tmp_path: Path, content: bytes) -> None:
    vouch(tmp_path, whole([sample(json=content)]))
    refused(tmp_path, r"x\.json, which is ")


# Damage


def cut_points(tar: bytes) -> list[int]:
    """264 lengths that `tar` can be cut to.

    Every block boundary, and one byte to each side of it (where a header, a content, the zeros behind it or the end begin or
    stop); in every header behind its name, its size and its checksum; of every content all but its last byte, and half of it;
    the rest drawn with a seed.
    """
    points: set[int] = set()
    for boundary in range(0, len(tar), BLOCK):
        points |= {boundary - 1, boundary, boundary + 1}
    for place in samples(tar):
        for at, size in ((place.a, place.a_size), (place.b, place.b_size), (place.json, place.json_size)):
            points |= {at - BLOCK + 100, at - BLOCK + 136, at - BLOCK + 156, at + size // 2, at + size - 1, at + size}
    points &= {*range(len(tar))}
    drawn = random.Random(264).sample([*{*range(len(tar))} - points], 264 - len(points))
    return sorted([*points, *drawn])


def read_by_webdataset(path: Path) -> list[dict[str, bytes]]:
    return [*webdataset.WebDataset(str(path), shardshuffle=False)]


def test_all_of_264_cuts_are_found_and_the_stock_reader_lets_some_pass(tmp_path: Path) -> None:
    path = vouch(tmp_path, GOOD, samples=2)
    right = read_by_webdataset(path)
    points = cut_points(GOOD)
    assert len(points) == 264
    found, passed, partial = 0, 0, 0
    for cut in points:
        path.write_bytes(GOOD[:cut])
        for verify in ("once", "never"):
            with pytest.raises(SuasionError) as caught:
                list(ShardDataset(tmp_path, "test", verify=verify))
            said_at = re.fullmatch(
                rf"{NAME} holds {cut} bytes where .* {len(GOOD)}: .* at byte (\d+)", caught.value.what
            )
            assert said_at, caught.value.what
            assert 0 <= int(said_at[1]) <= cut, "where the damage was seen, which is no later than the cut"
            assert caught.value.where == str(path)
            found += verify == "once"
        with contextlib.suppress(Exception):
            stock = read_by_webdataset(path)
            passed += stock != right
            partial += any(len(sample) != len(right[0]) for sample in stock)
    print(f"of {len(points)} cuts {found} are found; webdataset lets {passed} pass, {partial} with part of a sample")
    assert found == 264
    assert 0 < partial < passed


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = vouch(tmp_path, GOOD, samples=2)
    (shard,) = load((tmp_path / "manifest.json").read_bytes(), "")
    with path.open("r+b", buffering=0) as file:

        def change(at: int, value: int) -> None:
            file.seek(at)
            file.write(bytes([value]))

        rng = random.Random(0)
        for at, right in enumerate(GOOD):
            change(at, right ^ rng.randrange(1, 256))
            with pytest.raises(SuasionError, match=f"{NAME} holds other bytes than were written"):
                OpenShard(str(path), shard, file.fileno(), verify=True)
            if at % 97 == 0:
                with pytest.raises(SuasionError, match=f"{NAME} holds other bytes than were written"):
                    next(iter(ShardDataset(tmp_path, "test")))
            change(at, right)
        assert len(OpenShard(str(path), shard, file.fileno(), verify=True).places) == 2


def test_without_hashes_every_changed_byte_but_those_of_contents_is_found(tmp_path: Path) -> None:
    shard = ShardFile(NAME, "test", 2, len(GOOD), "0" * 64)
    contents: set[int] = set()
    for place in samples(GOOD):
        for at, size in ((place.a, place.a_size), (place.b, place.b_size), (place.json, place.json_size)):
            contents |= {*range(at, at + size)}
    outside = [*{*range(len(GOOD))} - contents]
    assert len(outside) > 4000
    for at in outside:
        changed = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        with pytest.raises(BadTar):
            samples(changed)
    path = vouch(tmp_path, changed, samples=2)
    with path.open("rb") as file, pytest.raises(SuasionError, match="at byte"):
        OpenShard(str(path), shard, file.fileno(), verify=False)


# What lies where the shard should be


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.write_bytes(GOOD)
    path.chmod(0)


@pytest.mark.parametrize(
    ("put", "what"),
    [
        (fifo, "is no file"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file"),
        (lambda path: path.symlink_to("/dev/full"), "is no file"),
        (lambda path: path.symlink_to("nowhere"), "cannot be opened: No such file"),
        (lambda path: path.symlink_to(path), "cannot be opened: Too many levels"),
        (lambda path: None, "cannot be opened: No such file"),
        (unreadable, "cannot be opened: Permission denied"),
    ],
    ids=["pipe", "folder", "zeros", "full", "dangling", "loop", "nothing", "unreadable"],
)
def test_what_is_no_file_is_refused(tmp_path: Path, put: Callable[[Path], None], what: str) -> None:
    path = vouch(tmp_path, GOOD, samples=2)
    path.unlink()
    put(path)
    assert refused(tmp_path, what, at=False).what.startswith(NAME)


def test_a_hole_of_many_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = vouch(tmp_path, GOOD, samples=2)
    try:
        os.truncate(path, 2**43 + len(END))
    except OSError:
        pytest.skip("the file system has no such large files")
    refused(tmp_path, f"{2**43 + len(END)} bytes where the manifest has {len(GOOD)}")


def test_a_pass_ends_at_the_first_damage_and_gives_no_sample_of_a_damaged_shard(tmp_path: Path) -> None:
    content = bytearray(GOOD)
    content[len(GOOD) // 2 + BLOCK] ^= 1
    vouch(tmp_path, GOOD, samples=2)
    (tmp_path / NAME).write_bytes(content)
    given = []
    with pytest.raises(SuasionError):
        for found in ShardDataset(tmp_path, "test"):
            given.append(found)
    assert given == []


# Errors of worker processes


def ids(batch: list[Sample]) -> list[str]:
    return [found.pair["pair_id"] for found in batch]


def pixels(batch: list[Sample]) -> list[tuple[int, int]]:
    return [found.open_a().size for found in batch]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("content", "collate", "what"),
    [
        (GOOD[:-1], ids, f"{NAME} holds "),
        (whole([sample("x"), sample("y", json=b"{}")]), ids, f"{NAME} holds y.json, which is not the row of pair y"),
        (whole([sample("x"), sample("y", a=b"\n  where: here\n  do:    that")]), pixels, "y.a.jpg is no JPEG"),
    ],
    ids=["cut", "json", "image"],
)
def test_an_error_in_a_worker_of_a_loader_is_one_readable_error(
    tmp_path: Path, workers: int, content: bytes, collate: Callable[[list[Sample]], object], what: str
) -> None:
    vouch(tmp_path, content, samples=2)
    loader = DataLoader(ShardDataset(tmp_path, "test"), batch_size=2, num_workers=workers, collate_fn=collate)
    with pytest.raises(SuasionError, match=what) as caught:
        list(loader)
    traceback.clear_frames(
        caught.tb
    )  # torch's frame holds its error and workers, and the collector ends those in 5 s each
    error = caught.value
    assert error.what.startswith(what)
    assert error.where == str(tmp_path / NAME)
    assert error.do.startswith(("restore it: ", "write the shards again "))
    assert "Traceback" not in str(error)
    assert len(str(error).splitlines()) == 3
