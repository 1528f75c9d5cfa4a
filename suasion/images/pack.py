"""Images packed into tars by content hash, with an index: every image once, no folder of a hundred thousand files.

The same images in the same order give the same bytes, also when the work was interrupted between two commits and went on.
Given up: compression (images are compressed), and appending to a finished pack.
"""

import functools
import os
import tarfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import polars as pl

from suasion.errors import SuasionError
from suasion.images.check import MAX_BYTES, Checked
from suasion.records import IMAGE, read, write

TAR_BYTES = 256 * 1024 * 1024
INDEX = "index.parquet"


class ImagePack:
    """Writes `images-00000.tar`, ... and `index.parquet` (`records.IMAGE`) to a folder; a context manager.

    `committed` are the rows of the images that an interrupted run has stored for good: the tars are cut back to them.
    """

    def __init__(self, folder: Path, *, committed: pl.DataFrame | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=committed is not None)
        self.folder = folder
        self.rows: list[tuple[object, ...]] = committed.rows() if committed is not None else []
        self._known: set[str] = {str(row[0]) for row in self.rows}
        self._tar: BinaryIO | None = None
        self._count = 0
        if committed is not None:
            self._cut_back()

    def __enter__(self) -> "ImagePack":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._tar is not None and kind is not None:
            self._tar.close()
        elif kind is None:
            self._end_tar()
            rows = pl.DataFrame(self.rows, schema=IMAGE, orient="row").sort("sha256")
            write(rows, self.folder / INDEX, IMAGE)

    def add(self, content: bytes, checked: Checked) -> None:
        """Store `content` unless an image of the same hash is there."""
        if checked.sha256 in self._known:
            return
        self._known.add(checked.sha256)
        tar = self._open_tar()
        member = tarfile.TarInfo(f"{checked.sha256}.{checked.format}")
        member.size, member.mode = len(content), 0o644
        tar.write(member.tobuf(tarfile.USTAR_FORMAT))
        offset = tar.tell()
        tar.write(content)
        tar.write(b"\0" * (-len(content) % tarfile.BLOCKSIZE))
        size = (checked.width, checked.height, checked.format, checked.phash)
        self.rows.append((checked.sha256, self._path(self._count - 1).name, offset, len(content), *size))

    def sync(self) -> None:
        """Bring what was added to the disk."""
        if self._tar is not None:
            self._tar.flush()
            os.fsync(self._tar.fileno())

    def _open_tar(self) -> BinaryIO:
        if self._tar is not None and self._tar.tell() > TAR_BYTES:
            self._end_tar()
        if self._tar is None:
            self._tar = self._path(self._count).open("wb")
            self._count += 1
        return self._tar

    def _end_tar(self) -> None:
        """Two empty blocks and zeros up to a whole record, as `tarfile` ends one."""
        if self._tar is not None:
            self._tar.write(b"\0" * 2 * tarfile.BLOCKSIZE)
            self._tar.write(b"\0" * (-self._tar.tell() % tarfile.RECORDSIZE))
            self.sync()
            self._tar.close()
            self._tar = None

    def _path(self, number: int) -> Path:
        return self.folder / f"images-{number:05d}.tar"

    def _cut_back(self) -> None:
        if self.rows:
            _, name, offset, size, *_ = self.rows[-1]
            end = int(str(offset)) + int(str(size))
            self._count = int(str(name)[len("images-") : -len(".tar")]) + 1
            self._tar = (self.folder / str(name)).open("r+b")
            self._tar.truncate(end + -end % tarfile.BLOCKSIZE)
            self._tar.seek(0, os.SEEK_END)
        number = self._count
        while self._path(number).exists():
            self._path(number).unlink()
            number += 1


class PackedImages:
    """Reads images of a pack by their hash; `index` has the columns of `records.IMAGE`.

    Raises:
        SuasionError: the index is missing, or names what can be in no pack.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, read(folder / INDEX, IMAGE)
        named = pl.col("tar").str.contains(r"^images-[0-9]{5,}\.tar$") & (pl.col("offset") >= 0)
        strange = self.index.filter(~(named & pl.col("size").is_between(0, MAX_BYTES)).fill_null(False))
        if strange.height:
            raise SuasionError(
                f"an image at {strange.select('tar', 'offset', 'size').row(0)}, which can be in no pack",
                where=str(folder / INDEX),
                do="restore the pack: dvc checkout, or dvc repro --force ingest",
            )

    @functools.cached_property
    def rows(self) -> dict[str, tuple[str, int, int]]:
        """Tar, offset and size by hash."""
        return {sha256: (tar, offset, size) for sha256, tar, offset, size, *_ in self.index.iter_rows()}

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self.rows

    def read(self, sha256: str) -> bytes:
        tar, offset, size = self.rows[sha256]
        with (self.folder / tar).open("rb") as file:
            file.seek(offset)
            return bytes(file.read(size))
