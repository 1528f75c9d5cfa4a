"""From any source to the votes table: rows checked one by one, images stored once by content.

A bad row never stops a run and never disappears: it goes to the drops with a reason. Rows in = votes + drops.
"""

import hashlib
import json
import re
from pathlib import Path

import polars as pl

from suasion.errors import SuasionError
from suasion.images.check import BadImage, Checked, check_image
from suasion.images.pack import ImagePack
from suasion.params import Ingest, WorldSource
from suasion.progress import progress
from suasion.records import CHOICES, DROP, SCENE, SPLITS, VOTE, write
from suasion.votes.sources import ImageRef, RawVote, reader_of

_FILE_NAME = re.compile(r"[0-9A-Za-z_-]{1,80}")


class _Images:
    """Checks every image once, by its name in the source, and packs it; remembers the bad ones too."""

    def __init__(self, pack: ImagePack, max_pixels: int) -> None:
        self.pack, self.max_pixels = pack, max_pixels
        self.scenes: dict[str, str] = {}
        self._known: dict[str, Checked | BadImage] = {}

    def sha256(self, image: ImageRef) -> str:
        """The hash of a usable image. Raises `BadImage`."""
        found = self._known.get(image.name)
        if found is None:
            found = self._known[image.name] = self._check(image)
        if isinstance(found, BadImage):
            raise found
        return found.sha256

    def _check(self, image: ImageRef) -> Checked | BadImage:
        try:
            content = image.read()
            checked = check_image(content, max_pixels=self.max_pixels)
        except OSError:
            return BadImage("image_missing", image.name)
        except BadImage as bad:
            return BadImage(bad.reason, f"{image.name}: {bad.detail}")
        self.pack.add(content, checked)
        scene = getattr(image, "scene", None)  # only the embedded world knows what an image shows
        if scene is not None:
            self.scenes[checked.sha256] = str(scene)
        return checked


def ingest(settings: Ingest, out: Path, *, seed: int) -> dict[str, int]:
    """Write votes, images, scenes, drops and, for the world, the voters' truth to `out`; returns the counts.

    Raises:
        SuasionError: the source is not there or not what it should be, or no row of it can be used.
    """
    source = settings.source
    votes: list[tuple[object, ...]] = []
    drops: list[tuple[str, str, str, str]] = []
    rows = 0
    with ImagePack(out / "images") as pack:
        images = _Images(pack, int(settings.max_megapixels * 1e6))
        for raw in progress(reader_of(source.name)(source, seed), total=_expected(settings), label="ingesting votes"):
            rows += 1
            try:
                votes.append(_vote(raw, images, source.name))
            except BadImage as bad:
                drops.append(("ingest", raw.row, bad.reason, bad.detail))
    if not votes:
        raise SuasionError(
            f"none of {rows} rows can be used; the first was dropped for {drops[0][2:] if drops else 'nothing'}",
            where=f"source {source.name}",
            do="look at the votes file: docs/bring-your-own-votes.md says what is needed",
        )
    table = pl.DataFrame(votes, schema=VOTE, orient="row")
    table, repeated = _without_repeats(table)
    drops += [("ingest", vote_id, "repeated_row", "the same vote, word for word") for vote_id in repeated]
    assert rows == table.height + len(drops), "rows in = votes + drops"
    write(table, out / "votes.parquet", VOTE)
    write(pl.DataFrame(drops, schema=DROP, orient="row"), out / "drops.parquet", DROP)
    write(pl.DataFrame(sorted(images.scenes.items()), schema=SCENE, orient="row"), out / "scenes.parquet", SCENE)
    counts = {"rows": rows, "votes": table.height, "dropped": len(drops), "images": len(pack._known)}
    (out / "summary.json").write_text(json.dumps(counts, indent=2) + "\n")
    if isinstance(source, WorldSource):
        from suasion.world.votes import make_voters

        truth = pl.DataFrame(make_voters(source, seed), orient="row")
        truth.write_parquet(out / "truth.parquet")
    return counts


def _vote(raw: RawVote, images: _Images, source: str) -> tuple[object, ...]:
    """The row of `records.VOTE` for `raw`; raises `BadImage` (with any drop's reason) where it cannot be used."""
    prompt = raw.prompt.strip()
    if not prompt:
        raise BadImage("prompt_empty", raw.row)
    if raw.choice not in CHOICES:
        raise BadImage("choice_unknown", f"{raw.choice!r}, not one of {', '.join(CHOICES)}")
    if raw.source_split is not None and raw.source_split not in SPLITS:
        raise BadImage("split_unknown", f"{raw.source_split!r}, not one of {', '.join(SPLITS)}")
    if raw.count < 1 or not raw.weight > 0:
        raise BadImage("weight_not_positive", f"count {raw.count}, weight {raw.weight}")
    image_a, image_b = images.sha256(raw.image_a), images.sha256(raw.image_b)
    prompt_id = _hash(prompt)
    pair_id = raw.pair_id or _hash(prompt, *sorted((image_a, image_b)))
    if not _FILE_NAME.fullmatch(pair_id):  # it becomes the name of a shard's members
        pair_id = f"{source}-{_hash(pair_id)}"
    said = (pair_id, prompt, image_a, image_b, raw.annotator_id, raw.choice, raw.count, raw.voted_at)
    vote_id = _hash(*(str(value) for value in said))
    return (
        vote_id,
        pair_id,
        prompt_id,
        prompt,
        image_a,
        image_b,
        raw.annotator_id,
        raw.choice,
        raw.count,
        raw.weight,
        raw.voted_at,
        source,
        raw.source_split,
        raw.model_a,
        raw.model_b,
    )


def _without_repeats(table: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The votes sorted by id, each once, and the ids of those that were there again.

    Where nobody knows who voted, equal rows are different people: they are told apart by how often they came.
    """
    nth = pl.int_range(pl.len()).over("vote_id")
    table = table.with_columns(nth=nth)
    anonymous = pl.col("annotator_id").is_null() & (pl.col("nth") > 0)
    table = table.with_columns(
        vote_id=pl.when(anonymous).then(pl.format("{}-{}", "vote_id", "nth")).otherwise(pl.col("vote_id"))
    )
    repeated = table.filter((pl.col("nth") > 0) & pl.col("annotator_id").is_not_null())["vote_id"].to_list()
    kept = table.filter((pl.col("nth") == 0) | pl.col("annotator_id").is_null())
    return kept.drop("nth").sort("vote_id"), repeated


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _expected(settings: Ingest) -> int:
    source = settings.source
    if isinstance(source, WorldSource):
        return sum(source.pairs.values()) * min(source.votes_per_pair, source.voters)
    return 0
