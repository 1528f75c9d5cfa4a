import io
import tarfile
import tempfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from suasion.shards.tar import BLOCK, END, MAX_IMAGE, MAX_JSON, MAX_NAME, BadTar, header, padding, samples
from tests.shards.hostile import member, sample, whole

keys = st.from_regex(r"[0-9A-Za-z_-]{1,90}", fullmatch=True)
sizes = st.one_of(st.integers(0, 5), st.sampled_from([511, 512, 513, 1024]), st.integers(0, 3000))
kinds = st.sampled_from(["jpg", "png", "webp"])


@given(st.binary(min_size=1, max_size=MAX_NAME).filter(lambda name: b"\0" not in name), st.integers(0, MAX_IMAGE))
def test_a_header_is_what_tarfile_writes(name: bytes, size: int) -> None:
    name = name.replace(b"/", b"_")  # after which tarfile would split a name
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = size = min(size, MAX_JSON) if name.endswith(b".json") else size
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("name", "size"),
    [(b"", 0), (b"x" * (MAX_NAME + 1), 0), (b"x.a.jpg", MAX_IMAGE + 1), (b"x.json", MAX_JSON + 1), (b"x.json", -1)],
)
def test_a_header_out_of_bounds_is_refused(name: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        header(name, size)


@given(
    st.dictionaries(
        keys, st.tuples(kinds, kinds, st.tuples(sizes, sizes, sizes), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_what_is_written_is_read_by_us_by_tarfile_and_by_webdataset(
    drawn: dict[str, tuple[str, str, tuple[int, int, int], int]],
) -> None:
    wanted = []
    for key, (kind_a, kind_b, lengths, byte) in drawn.items():
        contents = [bytes([byte]) * length for length in lengths]
        wanted += [*zip((f"{key}.a.{kind_a}", f"{key}.b.{kind_b}", f"{key}.json"), contents, strict=True)]
    tar = b"".join(header(name.encode(), len(c)) + c + padding(len(c)) for name, c in wanted) + END
    assert len(tar) % BLOCK == 0

    ours = []
    for place in samples(tar):
        for part, at, size in (
            (f"a.{place.kind_a}", place.a, place.a_size),
            (f"b.{place.kind_b}", place.b, place.b_size),
            ("json", place.json, place.json_size),
        ):
            ours.append((f"{place.key}.{part}", tar[at : at + size]))
    assert ours == wanted

    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        theirs = [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    assert theirs == wanted

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tar")
        path.write_bytes(tar)
        stock = [
            (f"{found['__key__']}.{name}", content)
            for found in webdataset.WebDataset(str(path), shardshuffle=False)
            for name, content in found.items()
            if not name.startswith("__")
        ]
    assert sorted(stock) == sorted(wanted), "webdataset leaves the order of a sample's members open"


def test_no_samples_are_a_shard() -> None:
    assert samples(END) == []


@given(keys, sizes)
def test_a_member_that_is_cut_is_named_with_where_it_was_to_end(key: str, size: int) -> None:
    tar = whole([member(f"{key}.a.jpg", bytes(size))])
    with pytest.raises(BadTar, match="before sample .* is whole at byte"):
        samples(tar)
    with pytest.raises(BadTar) as caught:
        samples(tar[: BLOCK + size // 2])
    assert 0 <= caught.value.offset <= BLOCK + size // 2
    assert str(caught.value).endswith(f"at byte {caught.value.offset}")


def test_bytes_and_maps_are_walked_alike(tmp_path: Path) -> None:
    import mmap

    tar = whole([sample("x"), sample("y")])
    (tmp_path / "x.tar").write_bytes(tar)
    with (
        (tmp_path / "x.tar").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert samples(mapped) == samples(tar)
    assert [place.key for place in samples(tar)] == ["x", "y"]


@given(st.binary(max_size=3000))
def test_bytes_that_are_no_tar_are_refused(content: bytes) -> None:
    with pytest.raises(BadTar):
        samples(content)
