"""Tars whose attacker wrote the manifest too: every one is refused with a named error, and nothing in it is executed."""

import bz2
import gzip
import io
import lzma
import pickle
import re
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from suasion.shards.tar import BLOCK, END, MAX_IMAGE, MAX_JSON, header
from tests.shards.hostile import (
    NAME,
    bomb_png,
    edited,
    member,
    picture,
    read,
    refused,
    said,
    sample,
    trap,
    vouch,
    whole,
)

pytestmark = pytest.mark.timeout(120)
GOOD = whole([sample("x"), sample("y")])


def test_the_helpers_make_a_good_shard(tmp_path: Path) -> None:
    vouch(tmp_path, GOOD, samples=2)
    found = read(tmp_path)
    assert [one.pair["pair_id"] for one in found] == ["x", "y"]
    assert found[0].open_a().size == (24, 16)
    assert found[0].shard == str(tmp_path / NAME)


def test_the_bomb_is_a_picture() -> None:
    assert struct.unpack(">II", bomb_png(100)[16:24]) == (100, 100)
    assert Image.open(io.BytesIO(bomb_png(100))).convert("RGB").getextrema() == ((0, 0),) * 3


# Names


@pytest.mark.parametrize(
    "name",
    [
        b"../x.json",
        b"/x.json",
        b"./x.json",
        b"x/../x.json",
        b"folder/x.json",
        b"C:\\x.json",
        b"~.json",
        b"x.pyd",
        b"x.pkl",
        b"x.pickle",
        b"x.pth",
        b"x.pt",
        b"x.npy",
        b"x.npz",
        b"x.txt",
        b"x.cls",
        b"x.ten",
        b"x.py",
        b"x.JSON",
        b"x.a.JPG",
        b"x.a.jpeg",
        b"x.c.jpg",
        b"x.jpg",
        b"x.a.jpg.pyd",
        b"x.json.gz",
        b"x.y.json",
        b".json",
        b"json",
        b"x",
        b"",
        b"x.json\n",
        b"x\n.json",
        b"x\0y.json",
        b"x.json\0.pyd",
        b" x.json",
        b"x.json ",
        b"x y.json",
        b"\xc3\xa4.json",
        b"\xff.json",
        b"x\x1b[2J.json",
        b"x" * 95 + b".json",
    ],
)
def test_a_member_of_another_name_is_refused(tmp_path: Path, name: bytes) -> None:
    content = trap(tmp_path / "executed")
    vouch(tmp_path, whole([sample("w"), member(name, content)]), samples=2)
    assert refused(tmp_path).what.startswith(f"{NAME} holds ")
    assert not (tmp_path / "executed").exists()


def test_a_pickle_that_the_stock_reader_executes_is_not_executed(tmp_path: Path) -> None:
    import webdataset

    executed = tmp_path / "executed"
    path = vouch(tmp_path, whole([member("x.pyd", trap(executed))]))
    refused(tmp_path, "member 'x.pyd', which is none of ours, at byte 0")
    assert not executed.exists()
    assert len([*webdataset.WebDataset(str(path), shardshuffle=False).decode()]) == 1
    assert executed.exists(), "the trap is a real one"


def test_a_pickle_called_json_or_jpg_is_only_ever_read_as_that(tmp_path: Path) -> None:
    executed = tmp_path / "executed"
    vouch(tmp_path, whole([sample(json=trap(executed))]))
    refused(tmp_path, "x.json, which is no JSON")
    vouch(tmp_path, whole([sample(a=trap(executed))]))
    refused(tmp_path, "x.a.jpg is no JPEG", at=False)
    assert not executed.exists()
    pickle.loads(trap(executed))
    assert executed.exists(), "the trap is a real one"


# Kinds of members, and what is written in headers


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"5", "a folder"),
        (b"6", "a pipe"),
        (b"7", "a member of type b'7'"),
        (b"g", "an extended header"),
        (b"x", "an extended header"),
        (b"L", "a long name"),
        (b"K", "a long link"),
        (b"S", "a sparse file"),
        (b"D", "a member of type b'D'"),
        (b"M", "a member of type b'M'"),
        (b"N", "a member of type b'N'"),
        (b"V", "a member of type b'V'"),
        (b"X", "a member of type b'X'"),
        (b"\0", "a member"),
    ],
)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    for content in (b"", said("x")):
        for link in (b"", b"/etc/passwd", b"../../etc/passwd", b"x.a.jpg"):
            odd = member("x.json", content, type=kind, linkname=link)
            vouch(tmp_path, whole([member("x.a.jpg"), member("x.b.jpg"), odd]))
            refused(tmp_path, re.escape(f"{what} 'x.json', which is none of ours, at byte 1024"))


@pytest.mark.parametrize(
    "fields",
    [
        {"linkname": b"/etc/passwd"},
        {"mode": b"0004755\0"},
        {"mode": b"0000600\0"},
        {"uid": b"0001000\0"},
        {"gid": b"0001000\0"},
        {"mtime": b"14000000000\0"},
        {"magic": b"ustar ", "version": b" \0"},
        {"magic": b"", "version": b""},
        {"version": b"01"},
        {"uname": b"root"},
        {"gname": b"root"},
        {"major": b"0000001\0"},
        {"minor": b"0000001\0"},
        {"prefix": b"/etc"},
        {"prefix": b"../.."},
        {"rest": b"x"},
        {"checksum": b"000000\0 "},
        {"checksum": b""},
    ],
    ids=repr,
)
def test_a_header_with_anything_else_in_it_is_refused(tmp_path: Path, fields: dict[str, bytes]) -> None:
    vouch(tmp_path, whole([sample("w"), member("x.a.jpg", picture(), **fields), member("x.b.jpg"), member("x.json")]))
    refused(tmp_path)


@pytest.mark.parametrize(
    "size",
    [
        b"000000000003",
        b"0000000003\0",
        b"          3\0",
        b"3\0",
        b"3 \0",
        b"3",
        b"+0000000003\0",
        b"-0000000003\0",
        b"-0000000000\0",
        b"0_000000003\0",
        b"0000_0_0003\0",
        b"0o000000003\0",
        b"0x000000003\0",
        b"00000000003 ",
        b"000000000 3\0",
        b"\xd9\xa3\0",
        b"\x80" + bytes(10) + b"\x03",
        b"\x80" + b"\xff" * 11,
        b"\xff" * 12,
        b"\xff" * 11 + b"\xfd",
        b"77777777777\0",
        b"777777777777",
        b"",
        b"\0" * 12,
        b"00000000009\0",
        b"00000000003\x01",
    ],
    ids=repr,
)
def test_a_size_is_written_in_one_way(tmp_path: Path, size: bytes) -> None:
    odd = member("x.a.jpg", b"abc", size=size)
    vouch(tmp_path, whole([odd, member("x.b.jpg"), member("x.json", said("x"))]))
    refused(tmp_path)


@pytest.mark.parametrize(("name", "most"), [("x.a.jpg", MAX_IMAGE), ("x.json", MAX_JSON)])
def test_a_member_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str, most: int) -> None:
    before = [] if name == "x.a.jpg" else [member("x.a.jpg"), member("x.b.jpg")]
    start = b"".join([*before, edited(header(b"x.json", 0), name=name.encode(), size=b"%011o\0" % (most + 1))])
    path = vouch(tmp_path, start)
    with path.open("r+b") as file:
        file.truncate(len(start) + most + BLOCK + len(END))  # a hole
    error = refused(tmp_path, f"'{name}' of {most + 1} bytes, which is too large")
    assert error.what.endswith(f"at byte {len(start) - BLOCK}")


# Extended headers, as real tools write them


def made(form: int, name: str = "x.json", **options: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        info = tarfile.TarInfo(name)
        info.size = 2
        for key, value in options.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(b"{}"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (made(tarfile.PAX_FORMAT, pax_headers={"path": "../../x.json"}), "an extended header"),
        (made(tarfile.PAX_FORMAT, pax_headers={"size": "9999999999"}), "an extended header"),
        (made(tarfile.PAX_FORMAT, pax_headers={"hdrcharset": "BINARY"}), "an extended header"),
        (made(tarfile.PAX_FORMAT, pax_headers={"linkpath": "/etc/passwd"}), "an extended header"),
        (
            made(
                tarfile.PAX_FORMAT,
                pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 15},
            ),
            "an extended header",
        ),
        (
            made(tarfile.PAX_FORMAT, pax_headers={"GNU.sparse.map": "0,1,999999999,1", "GNU.sparse.size": "9" * 12}),
            "an extended header",
        ),
        (made(tarfile.PAX_FORMAT, "x" * 200 + ".json"), "an extended header"),
        (made(tarfile.GNU_FORMAT, "x" * 200 + ".json"), "none of ours"),
        (made(tarfile.GNU_FORMAT), "none of ours"),
        (made(tarfile.USTAR_FORMAT, mtime=1), "none of ours"),
    ],
    ids=range(10),
)
def test_tars_of_other_tools_are_refused(tmp_path: Path, content: bytes, what: str) -> None:
    vouch(tmp_path, content)
    refused(tmp_path, what)


def test_a_global_header_before_a_good_shard_is_refused(tmp_path: Path) -> None:
    record = b"20 path=/etc/passwd\n"
    vouch(tmp_path, member("pax_global_header", record, type=b"g") + GOOD, samples=2)
    refused(tmp_path, "an extended header 'pax_global_header', which is none of ours, at byte 0")


def test_an_old_gnu_sparse_file_is_refused(tmp_path: Path) -> None:
    sparse = bytearray(member("x.a.jpg", b"", type=b"S", magic=b"ustar ", version=b" \0"))
    sparse[483:495] = b"77777777777\0"  # the size that it claims to have
    vouch(tmp_path, whole([edited(bytes(sparse)), member("x.b.jpg"), member("x.json", said("x"))]))
    refused(tmp_path, "a sparse file")


# How members are put together

A, B, J = (member(f"x.{part}", content) for part, content in (("a.jpg", b"a"), ("b.jpg", b"b"), ("json", said("x"))))
OTHER = sample("y")


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([A, A, B, J], "no whole sample"),
        ([A, B, B, J], "no whole sample"),
        ([A, B, J, J], "before sample 'x' is whole"),
        ([A, B, J, A, B, J], "sample 'x' a second time"),
        ([A, B, J, OTHER, A, B, J], "sample 'x' a second time"),
        ([A, member("y.a.jpg"), B, member("y.b.jpg"), J, member("y.json")], "no whole sample"),
        ([A, B, member("y.json", said("y"))], "no whole sample"),
        ([A, member("y.b.jpg"), J], "no whole sample"),
        ([B, A, J], "no whole sample"),
        ([J, A, B], "no whole sample"),
        ([A, J, B], "no whole sample"),
        ([A, member("x.a.png"), J], "no whole sample"),
        ([A], "before sample 'x' is whole"),
        ([A, B], "before sample 'x' is whole"),
        ([J], "before sample 'x' is whole"),
        ([OTHER, A, B], "before sample 'x' is whole"),
        ([A, B, J, END, OTHER], "an empty block"),
        ([bytes(BLOCK), A, B, J], "an empty block"),
        ([A, bytes(BLOCK), B, J], "an empty block"),
    ],
    ids=range(19),
)
def test_samples_are_whole_and_each_comes_once(tmp_path: Path, members: list[bytes], what: str) -> None:
    vouch(tmp_path, whole(members), samples=max(len(members) // 3, 1))
    refused(tmp_path, what)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no end of a shard"),
        (bytes(BLOCK), "no end of a shard"),
        (bytes(10240), "an empty block"),
        (GOOD[: -len(END)], ""),
        (GOOD[:-BLOCK], ""),
        (GOOD[:-1], ""),
        (GOOD + b"\0", ""),
        (GOOD + bytes(BLOCK), "an empty block"),
        (GOOD + bytes(-len(GOOD) % 10240), "an empty block"),
        (GOOD + b"#!/bin/sh\n", ""),
        (GOOD + GOOD, "an empty block"),
        (GOOD[:-1] + b"\1", ""),
        (b"\0" + GOOD, ""),
        (b"#!/bin/sh\n".ljust(BLOCK, b"\0") + GOOD, "no header of a ustar member"),
        (b"x" * 5000, "no header of a ustar member"),
    ],
    ids=range(15),
)
def test_there_is_nothing_before_a_shard_nor_behind_its_end(tmp_path: Path, content: bytes, what: str) -> None:
    vouch(tmp_path, content, samples=2)
    refused(tmp_path, what)


def test_nothing_hides_in_paddings_nor_behind_a_declared_size(tmp_path: Path) -> None:
    content = picture()
    for place in (0, 1, -1):
        hidden = bytearray(member("x.a.jpg", content))
        padding = range(BLOCK + len(content), len(hidden))
        hidden[padding[place]] = 1
        vouch(tmp_path, whole([bytes(hidden), B, J]))
        refused(tmp_path, f"something behind the content of member x.a.jpg at byte {BLOCK + len(content)}")
    for less in (1, BLOCK, len(content)):
        short = member("x.a.jpg", content, size=b"%011o\0" % max(len(content) - less, 0))
        vouch(tmp_path, whole([short, B, J]))
        refused(tmp_path)
    for more in (BLOCK, 10 * BLOCK, MAX_IMAGE - len(content)):
        long = member("x.a.jpg", content, size=b"%011o\0" % (len(content) + more))
        vouch(tmp_path, whole([long, B, J]))
        refused(tmp_path)


@pytest.mark.parametrize(
    ("squeezed", "what"),
    [
        (gzip.compress(GOOD), "gzip"),
        (bz2.compress(GOOD), "bzip2"),
        (lzma.compress(GOOD), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "zstd"),
        (b"PK\3\4" + bytes(600), "zip"),
    ],
    ids=["gz", "bz2", "xz", "zst", "zip"],
)
def test_compressed_streams_are_named_and_not_opened(tmp_path: Path, squeezed: bytes, what: str) -> None:
    vouch(tmp_path, squeezed.ljust(2 * BLOCK + len(END), b"\0"), samples=2)
    refused(tmp_path, f"{what} data instead of a tar at byte 0")


def test_a_shard_that_is_also_a_zip_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("x.json", "{}")
    vouch(tmp_path, buffer.getvalue(), samples=2)
    refused(tmp_path)
