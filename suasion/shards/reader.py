"""Reads shards back: only what the manifest vouches for, only members of the expected names, nothing executed.

The stock reader unpickles, and passes over many truncations in silence; here size, sha256 and the number of samples are
held against the manifest before a member is believed. Given up: streaming, which the default data does not need.
"""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from suasion.errors import SuasionError

_MEMBER = re.compile(r"(?P<pair>[0-9A-Za-z_-]+)\.(?P<part>a\.jpg|b\.jpg|json)")
_PARTS = ("a.jpg", "b.jpg", "json")
MAX_PIXELS = 20_000_000


@dataclass(frozen=True)
class Sample:
    """One pair with its images: `pair` has the columns of `records.PAIR`; scenes are null where nobody knows them."""

    pair: dict[str, Any]
    image_a: bytes
    image_b: bytes
    scene_a: str | None
    scene_b: str | None

    def open_a(self) -> Image.Image:
        return _open(self.image_a, f"{self.pair['pair_id']}.a.jpg")

    def open_b(self) -> Image.Image:
        return _open(self.image_b, f"{self.pair['pair_id']}.b.jpg")


def read_samples(folder: Path, split: str) -> list[Sample]:
    """All samples of `split`, in the shards' order.

    Raises:
        SuasionError: no manifest, or a shard that is not what the manifest says; the shard is named.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise SuasionError("no manifest.json", where=str(folder), do="run the shard stage first: make repro")
    samples: list[Sample] = []
    for shard in json.loads(manifest.read_text())["shards"]:
        if shard["split"] == split:
            samples += _read_shard(folder / shard["name"], shard)
    return samples


def _read_shard(path: Path, shard: dict[str, Any]) -> list[Sample]:
    content = path.read_bytes() if path.is_file() else b""
    if len(content) != shard["bytes"] or hashlib.sha256(content).hexdigest() != shard["sha256"]:
        raise _damaged(path, f"{len(content)} bytes that are not the {shard['bytes']} of the manifest")
    parts: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member in tar:
            found = _MEMBER.fullmatch(member.name)
            if found is None or not member.isreg():
                raise _damaged(path, f"member {member.name!r}, which is none of ours")
            file = tar.extractfile(member)
            assert file is not None, "a regular member has content"
            if found["part"] in parts.setdefault(found["pair"], {}):
                raise _damaged(path, f"member {member.name!r} twice")
            parts[found["pair"]][found["part"]] = file.read()
    if len(parts) != shard["samples"] or any(set(sample) != set(_PARTS) for sample in parts.values()):
        raise _damaged(path, f"{len(parts)} samples, some perhaps incomplete, where {shard['samples']} are expected")
    return [_sample(sample) for sample in parts.values()]


def _sample(parts: dict[str, bytes]) -> Sample:
    pair = json.loads(parts["json"])
    scene_a, scene_b = pair.pop("scene_a"), pair.pop("scene_b")
    return Sample(pair, parts["a.jpg"], parts["b.jpg"], scene_a, scene_b)


def _open(content: bytes, name: str) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("JPEG",))
    if image.width * image.height > MAX_PIXELS:
        raise SuasionError(
            f"an image of {image.width} x {image.height}", where=name, do="shard again with a smaller max_side"
        )
    return image.convert("RGB")


def _damaged(path: Path, what: str) -> SuasionError:
    return SuasionError(
        f"{path.name} holds {what}", where=str(path), do="restore it: dvc checkout, or dvc repro -f shard"
    )
