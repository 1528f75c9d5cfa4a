"""Writes pairs as WebDataset shards that stock `webdataset` and `datasets` read, and a manifest that vouches for them.

The same pairs give the same bytes: fixed headers, order of the pairs, no times. Every shard is written aside, flushed to
the disk and renamed; the manifest comes last. Given up: several writers at once.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from suasion.images.pack import PackedImages
from suasion.params import Shard
from suasion.progress import progress
from suasion.records import SPLITS

VERSION = 1
JPEG_QUALITY = 95


def write_shards(
    pairs: pl.DataFrame, images: PackedImages, scenes: Mapping[str, str], settings: Shard, out: Path
) -> list[dict[str, Any]]:
    """Write `pairs` (`records.PAIR`) to `out` as `SPLIT-00000.tar`, ... and `manifest.json`; returns its shards.

    `scenes` says what is on an image, by its hash, where that is known.
    """
    out.mkdir(parents=True)
    shards = []
    chunks = list(_chunks(pairs, settings.samples_per_shard))
    for split, number, rows in progress(chunks, total=len(chunks), label="writing shards"):
        name = f"{split}-{number:05d}.tar"
        content = _tar(rows, images, scenes, settings.max_side)
        _write_whole(out / name, content)
        shards.append(
            {
                "name": name,
                "split": split,
                "samples": len(rows),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    manifest = {"version": VERSION, "shards": shards}
    _write_whole(out / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    return shards


def _chunks(pairs: pl.DataFrame, size: int) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    for split in SPLITS:
        rows = pairs.filter(pl.col("split") == split).sort("pair_id").to_dicts()
        for number, start in enumerate(range(0, len(rows), size)):
            yield split, number, rows[start : start + size]


def _tar(rows: list[dict[str, Any]], images: PackedImages, scenes: Mapping[str, str], max_side: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            described = row | {"scene_a": scenes.get(row["image_a"]), "scene_b": scenes.get(row["image_b"])}
            for extension, content in (
                ("a.jpg", to_jpeg(images.read(row["image_a"]), max_side)),
                ("b.jpg", to_jpeg(images.read(row["image_b"]), max_side)),
                ("json", json.dumps(described, ensure_ascii=False, sort_keys=True).encode()),
            ):
                member = tarfile.TarInfo(f"{row['pair_id']}.{extension}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def to_jpeg(content: bytes, max_side: int) -> bytes:
    """The image as JPEG of at most `max_side` pixels a side; a JPEG within the limit keeps its bytes."""
    with Image.open(io.BytesIO(content)) as image:
        if image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= max_side:
            return content
        shrunk = image.convert("RGB")
        shrunk.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        shrunk.save(buffer, format="JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
