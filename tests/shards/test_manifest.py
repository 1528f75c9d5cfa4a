import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.errors import SuasionError
from suasion.records import SPLITS
from suasion.shards import ShardDataset
from suasion.shards.manifest import MAX_BYTES, VERSION, ShardFile, dump, load, shard_name

SHARDS = [
    ShardFile("train-00000.tar", "train", 2000, 244_000_000, "0a" * 32),
    ShardFile("train-00001.tar", "train", 7, 854_000, "1b" * 32),
    ShardFile("test-00000.tar", "test", 0, 1024, "2c" * 32),
]


def refused(content: bytes) -> SuasionError:
    with pytest.raises(SuasionError, match="the manifest has|a manifest of version") as caught:
        load(content, "where it is")
    assert caught.value.where == "where it is"
    assert caught.value.do
    assert len(str(caught.value)) < 500
    return caught.value


def signed(body: str) -> bytes:
    """`body` of a manifest with the hash that an attacker can make as well as we can."""
    return f'{body}  "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'.encode()


def with_row(**changes: Any) -> bytes:
    """A manifest that vouches for itself and whose one shard has `changes`."""
    row = {name: value for name, value in (SHARDS[0]._asdict() | changes).items() if value is not ...}
    return signed(f'{{\n  "version": {VERSION},\n  "shards": [\n    {json.dumps(row)}\n  ],\n')


@given(
    st.lists(
        st.builds(
            lambda split, number, samples, size, digest: ShardFile(
                shard_name(split, number), split, samples, size, digest.hex()
            ),
            st.sampled_from(SPLITS),
            st.integers(0, 10**9 - 1),
            st.integers(0, 10**9 - 1),
            st.integers(0, 10**15 - 1),
            st.binary(min_size=32, max_size=32),
        ),
        unique_by=lambda shard: shard.name,
    )
)
def test_what_is_dumped_is_loaded(shards: list[ShardFile]) -> None:
    content = dump(shards)
    assert load(content, "") == shards
    said = json.loads(content)
    assert said["version"] == VERSION
    assert [ShardFile(**row) for row in said["shards"]] == shards, "JSON, for everybody else"


def test_every_changed_byte_is_found() -> None:
    content = dump(SHARDS)
    for at in range(len(content)):
        for other in (*(content[at] ^ 1 << bit for bit in range(8)), 0, ord(" "), ord("0"), ord("9")):
            if other != content[at]:
                refused(content[:at] + bytes([other]) + content[at + 1 :])


def test_every_missing_or_added_byte_is_found() -> None:
    content = dump(SHARDS)
    for at in range(len(content)):
        refused(content[:at])
        refused(content[:at] + content[at + 1 :])
        for byte in (b" ", b"\n", b"0"):
            refused(content[:at] + byte + content[at:])
    for end in (b"\n", b"\0", b" ", b"{}", content):
        refused(content + end)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_manifest_are_refused(content: bytes) -> None:
    refused(content)


def test_the_first_byte_that_is_another_is_named() -> None:
    content = dump(SHARDS)
    assert "from byte 2 on" in refused(content[:2] + b"\t" + content[3:]).what
    assert f"from byte {len(content)} on" in refused(content + b"\n").what


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("byte order mark", b"\xef\xbb\xbf" + dump(SHARDS)),
        ("UTF-16", dump(SHARDS).decode().encode("utf-16")),
        ("other ends of lines", dump(SHARDS).replace(b"\n", b"\r\n")),
        ("other spaces", json.dumps(json.loads(dump(SHARDS))).encode()),
        ("not an object", b"[1]"),
        ("empty", b""),
        ("nothing", b"null"),
        ("deep", b"[" * 1_000_000),
        ("deep with a version", b'{"version": 2, "shards": ' + b"[" * 1_000_000),
        ("many objects", b'{"version": 2, "shards": [' + b"{}," * 1_000_000),
        ("not a number", b'{"version": NaN}'),
        ("infinite", b'{"version": Infinity}'),
        ("a version twice", b'{\n  "version": 2,\n  "version": 3,\n' + dump(SHARDS)[2:]),
        ("a string as version", dump(SHARDS).replace(b": 2,", b': "2",')),
        ("a hash of its own twice", dump(SHARDS)[:-3] + b',\n  "sha256": "' + b"0" * 64 + b'"\n}\n'),
        ("no hash of its own", dump(SHARDS)[: dump(SHARDS).index(b'  "sha256"')] + b"}\n"),
    ],
)
def test_other_forms_are_refused(name: str, content: bytes) -> None:
    refused(content)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../etc/passwd"},
        {"name": "/etc/passwd"},
        {"name": "train-00000.tar/../../x"},
        {"name": "train-00000.tar\n"},
        {"name": "train-00000.tar\0"},
        {"name": "train-0.tar"},
        {"name": "train-٠٠٠٠٠.tar"},
        {"name": "trian-00000.tar", "split": "trian"},
        {"name": "s3://bucket/train-00000.tar"},
        {"name": "pipe:touch x"},
        {"name": ["train-00000.tar"]},
        {"name": None},
        {"split": "test"},
        {"samples": -1},
        {"samples": 1.0},
        {"samples": True},
        {"samples": "1"},
        {"samples": 10**10},
        {"bytes": -1},
        {"bytes": 10**16},
        {"bytes": None},
        {"sha256": "0A" * 32},
        {"sha256": "0" * 63},
        {"sha256": "../" + "0" * 61},
        {"sha256": None},
        {"sha256": ...},
        {"samples": ...},
        {"url": "http://localhost"},
    ],
    ids=lambda changes: repr(changes)[:50],
)
def test_a_row_that_is_none_of_ours_is_refused_though_the_hash_is_right(changes: dict[str, Any]) -> None:
    assert load(with_row(), "") == SHARDS[:1]
    refused(with_row(**changes))


@pytest.mark.parametrize(
    "number",
    ["9" * 5000, "2e3", "02000", "+2000", "-0", "2_000", "0x7d0", "NaN", "Infinity", "[2000]", " 2000", "２０００"],
)
def test_a_number_is_written_in_one_way(number: str) -> None:
    body = with_row().decode().partition('  "sha256"')[0]
    assert load(signed(body), "") == SHARDS[:1]
    refused(signed(body.replace("2000", number)))


@pytest.mark.parametrize("more", ['"samples": 2000', '"samples": 1', '"name": "test-00001.tar"', '"__class__": 1'])
def test_a_key_twice_in_a_row_is_refused_though_the_hash_is_right(more: str) -> None:
    body = dump(SHARDS).decode().partition('  "sha256"')[0]
    assert load(signed(body), "") == SHARDS
    refused(signed(body.replace('{"name"', f'{{{more}, "name"', 1)))
    refused(signed(body.replace('"}', f'", {more}}}', 1)))


def test_a_shard_twice_is_refused_though_the_hash_is_right() -> None:
    assert "a shard twice" in refused(dump([*SHARDS, SHARDS[1]._replace(samples=1)])).what


@pytest.mark.parametrize("version", [0, 1, 3, 999_999_999])
def test_another_version_says_what_to_do(version: int) -> None:
    error = refused(json.dumps({"version": version, "shards": []}, indent=2).encode())
    assert f"version {version}, where {VERSION} is expected" in error.what
    assert "dvc repro shard" in error.do


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.write(dump(SHARDS))
        file.truncate(200_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(SuasionError, match=f"over {MAX_BYTES} bytes"):
            ShardDataset(tmp_path, "train")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_memory_is_in_proportion_to_the_largest_manifest() -> None:
    rows = b"    {}," * (MAX_BYTES // 8)
    tracemalloc.start()
    try:
        refused(b'{\n  "version": 2,\n  "shards": [\n' + rows)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "dangling"])
def test_a_manifest_that_is_no_file_is_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "manifest.json"
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "dangling": lambda: path.symlink_to("nowhere"),
    }[kind]()
    with pytest.raises(SuasionError, match=r"no manifest\.json"):
        ShardDataset(tmp_path, "train")


@pytest.mark.parametrize(
    "said",
    [
        b"http://localhost/shards",
        b"file:///etc",
        b"../elsewhere",
        b"simplecache::s3://bucket/shards",
        b"s3://",
        b"s3:///shards",
        b"s3://bucket/shards\ns3://other/shards",
        b"\xff\xfe",
        b"",
        b"s3://bucket/" + b"x" * 5000 + b" ",
    ],
)
def test_a_location_is_an_s3_url_or_none(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(dump(SHARDS))
    (tmp_path / "location.txt").write_bytes(said)
    if len(said) < 2000:
        with pytest.raises(SuasionError, match=r"location\.txt says .*, which is no s3://BUCKET/FOLDER"):
            ShardDataset(tmp_path, "train")
    else:
        assert len(ShardDataset(tmp_path, "train").place) == 2000
