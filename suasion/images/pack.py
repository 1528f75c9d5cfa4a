"""Images packed into tars by content hash, with an index: every image once, no folder of a hundred thousand files.

The same images in the same order give the same bytes. Given up: compression (images are compressed) and appending.
"""

import io
import tarfile
from pathlib import Path
from types import TracebackType

import polars as pl

from suasion.images.check import Checked
from suasion.records import IMAGE, read, write

TAR_BYTES = 256 * 1024 * 1024
INDEX = "index.parquet"


class ImagePack:
    """Writes `images-00000.tar`, ... and `index.parquet` (`records.IMAGE`) to a folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._rows: list[tuple[object, ...]] = []
        self._known: set[str] = set()
        self._tar: tarfile.TarFile | None = None
        self._count = 0

    def __enter__(self) -> "ImagePack":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._tar is not None:
            self._tar.close()
        if kind is None:
            rows = pl.DataFrame(self._rows, schema=IMAGE, orient="row").sort("sha256")
            write(rows, self.folder / INDEX, IMAGE)

    def add(self, content: bytes, checked: Checked) -> None:
        """Store `content` unless an image of the same hash is there."""
        if checked.sha256 in self._known:
            return
        self._known.add(checked.sha256)
        tar = self._open_tar()
        member = tarfile.TarInfo(f"{checked.sha256}.{checked.format}")
        member.size, member.mode = len(content), 0o644
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(member, io.BytesIO(content))
        name = f"images-{self._count - 1:05d}.tar"
        self._rows.append((checked.sha256, name, offset, len(content), checked.width, checked.height, checked.format))

    def _open_tar(self) -> tarfile.TarFile:
        if self._tar is None or self._tar.offset > TAR_BYTES:
            if self._tar is not None:
                self._tar.close()
            path = self.folder / f"images-{self._count:05d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # closed in __exit__
            self._count += 1
        return self._tar


class PackedImages:
    """Reads images of a pack by their hash."""

    def __init__(self, folder: Path) -> None:
        index = read(folder / INDEX, IMAGE)
        self.folder = folder
        self.rows = {row["sha256"]: row for row in index.iter_rows(named=True)}

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self.rows

    def read(self, sha256: str) -> bytes:
        row = self.rows[sha256]
        with (self.folder / row["tar"]).open("rb") as file:
            file.seek(row["offset"])
            return bytes(file.read(row["size"]))
