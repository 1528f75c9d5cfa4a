"""From any sources to the votes table: rows checked one by one, images stored once by content, batch after batch.

A bad row never stops a run and never disappears: it goes to the drops with a reason. Judgements in = votes + drops. A run that
was killed goes on after its last finished batch and gives the same bytes as one that was not. Given up: reading a source
from its middle; rows of finished batches are read again, their images are not.
"""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from suasion.errors import SuasionError
from suasion.images.check import BadImage
from suasion.images.intake import check_all, key_of, readers
from suasion.images.pack import ImagePack
from suasion.params import Ingest, Source, WorldSource, label_of
from suasion.progress import progress
from suasion.records import DROP, HELD_OUT, SCENE, VOTE, write
from suasion.votes.held_out import read_held_out
from suasion.votes.parts import Batch, Parts
from suasion.votes.rows import STAGE, problem_of, row_of, settle
from suasion.votes.sources import BadRow, ImageRef, RawVote, reader_of

BATCH = 5000
"""Judgements of a batch at most."""

BATCH_BYTES = 256 * 1024 * 1024
"""Of images that rows bring along: a batch with as many is full."""

Item = RawVote | BadRow


def ingest(
    settings: Ingest,
    out: Path,
    *,
    seed: int,
    threads: int = 1,
    work: Path | None = None,
    batch: int = BATCH,
) -> dict[str, Any]:
    """Write votes, images, scenes, drops, evaluation sets and, for the world, the voters' truth to `out`.

    `work` holds what is done and not yet published, is taken up again and is left in place; null: a folder beside `out`,
    made anew and removed at the end. The result depends neither on `threads` nor on `batch`. Returns `summary.json`.

    Raises:
        SuasionError: a source is not there or not what it should be, or no row of it can be used.
    """
    folder = work or out.with_name(f".{out.name}.work")
    if work is None:
        shutil.rmtree(folder, ignore_errors=True)
    held_out, missed = read_held_out(
        settings, threads=threads
    )  # first: what is wrong with it shows before the long part
    parts = Parts(folder / "parts")
    with ImagePack(folder / "images", committed=parts.table("images")) as pack:
        intake = _Intake(pack, parts, settings, threads)
        with readers(threads) as pool:
            for source in settings.sources:
                _read(source, seed, intake, pool, batch)
    votes, late = settle(parts.table("votes"))
    drops = pl.concat([parts.table("drops"), late])
    summary = _summary(parts, votes, settings)
    assert summary["rows"] == votes.height + drops.height, "judgements in = votes + drops"
    _require_votes(summary, drops)
    out.mkdir(parents=True)
    _place(folder / "images", out / "images")
    write(votes, out / "votes.parquet", VOTE)
    write(pl.concat([drops, missed]), out / "drops.parquet", DROP)
    write(parts.table("scenes").unique().sort("sha256"), out / "scenes.parquet", SCENE)
    write(held_out, out / "held_out.parquet", HELD_OUT)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for source in settings.sources:
        if isinstance(source, WorldSource):
            from suasion.world.votes import make_voters

            pl.DataFrame(make_voters(source, seed), orient="row").write_parquet(out / "truth.parquet")
    if work is None:
        shutil.rmtree(folder)
    return summary


class _Intake:
    """Turns batches of judgements into committed parts, and remembers every image that it has looked at."""

    def __init__(self, pack: ImagePack, parts: Parts, settings: Ingest, threads: int) -> None:
        self.pack, self.parts, self.settings, self.threads = pack, parts, settings, threads
        self.several = len(settings.sources) > 1
        self.done = dict(parts.table("done").group_by("source").agg(pl.col("rows").sum()).rows())
        self.known: dict[bytes, str | BadImage] = {
            key: sha256 if reason is None else BadImage(reason, detail)
            for key, sha256, reason, detail in parts.table("known").iter_rows()
        }

    def commit(self, items: list[Item], label: str, pool: ThreadPoolExecutor) -> None:
        """Check `items` of the source called `label`, store their images, and commit them."""
        stored = len(self.pack.rows)
        problems = [problem_of(item) for item in items]
        good = [item for item, bad in zip(items, problems, strict=True) if bad is None and isinstance(item, RawVote)]
        known, scenes = self._look(good, label, pool)
        votes: list[tuple[object, ...]] = []
        drops: list[tuple[object, ...]] = []  # in the order of the items, however these are cut into batches
        for item, bad in zip(items, problems, strict=True):
            bad = bad or self._bad_image(item, label)
            if bad is not None:
                drops.append((STAGE, f"{label}:{bad.row}" if self.several else bad.row, bad.reason, bad.detail))
            elif isinstance(item, RawVote):
                first, second = (str(self.known[key_of(image, label)]) for image in (item.image_a, item.image_b))
                votes.append(row_of(item, first, second, label, several=self.several))
        self.pack.sync()
        done = [(label, len(items))]
        self.parts.commit(Batch.of_rows(votes, drops, self.pack.rows[stored:], scenes, known, done))

    def _bad_image(self, item: Item, label: str) -> BadRow | None:
        for image in (item.image_a, item.image_b) if isinstance(item, RawVote) else ():
            found = self.known[key_of(image, label)]
            if isinstance(found, BadImage):
                return BadRow(item.row, found.reason, found.detail)
        return None

    def _look(
        self, votes: list[RawVote], label: str, pool: ThreadPoolExecutor
    ) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        """Read, check and pack the images of `votes` that are new; rows of `KNOWN` and of `records.SCENE`."""
        new: dict[bytes, ImageRef] = {}
        for vote in votes:
            for image in (vote.image_a, vote.image_b):
                key = key_of(image, label)
                if key not in self.known:
                    new.setdefault(key, image)
        known: list[tuple[object, ...]] = []
        scenes: list[tuple[object, ...]] = []
        pixels, side = int(self.settings.max_megapixels * 1e6), self.settings.min_side
        found = check_all(new.values(), pool, threads=self.threads, max_pixels=pixels, min_side=side)
        for (key, image), (content, checked) in zip(new.items(), found, strict=True):
            if isinstance(checked, BadImage):
                self.known[key] = checked
                known.append((key, None, checked.reason, checked.detail))
                continue
            self.pack.add(content, checked)
            self.known[key] = checked.sha256
            known.append((key, checked.sha256, None, None))
            scene = getattr(image, "scene", None)  # only the embedded world knows what an image shows
            if scene is not None:
                scenes.append((checked.sha256, str(scene)))
        return known, scenes


def _read(source: Source, seed: int, intake: _Intake, pool: ThreadPoolExecutor, size: int) -> None:
    """Commit the rows of `source` that are not committed yet, in batches of `size`."""
    label = label_of(source)
    finished = intake.done.get(label, 0)
    waiting: list[Item] = []
    seen: set[int] = set()  # images of `waiting`, which its votes may share
    held = 0  # their bytes
    items = progress(reader_of(source.name)(source, seed), total=_expected(source), label=f"ingesting {label}")
    for number, item in enumerate(items):
        if number < finished:
            continue
        waiting.append(item)
        if isinstance(item, RawVote):
            new = {id(image): image for image in (item.image_a, item.image_b) if id(image) not in seen}
            held += sum(len(getattr(image, "content", b"")) for image in new.values())
            seen |= new.keys()
        if len(waiting) == size or held > BATCH_BYTES:
            intake.commit(waiting, label, pool)
            waiting, seen, held = [], set(), 0
    if waiting:
        intake.commit(waiting, label, pool)


def _expected(source: Source) -> int | None:
    if isinstance(source, WorldSource):
        return sum(source.pairs.values()) * min(source.votes_per_pair, source.voters)
    return None


def _place(images: Path, target: Path) -> None:
    """The pack at `target` without moving it: until all is published, a killed run must find it where it was."""
    target.mkdir()
    for file in sorted(images.iterdir()):
        try:
            os.link(file, target / file.name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(file, target / file.name)


def _summary(parts: Parts, votes: pl.DataFrame, settings: Ingest) -> dict[str, Any]:
    """Counts of judgements, and the snapshot: the hash of all vote ids and images, which names what was ingested."""
    read = dict(parts.table("done").group_by("source").agg(pl.col("rows").sum()).rows())
    kept = dict(votes.group_by("source").len().rows())
    digest = hashlib.sha256()
    for name in [*votes["vote_id"].sort(), *parts.table("images")["sha256"].sort()]:
        digest.update(f"{name}\n".encode())
    sources = {
        label_of(source): {
            "rows": read.get(label_of(source), 0),
            "votes": kept.get(label_of(source), 0),
            "dropped": read.get(label_of(source), 0) - kept.get(label_of(source), 0),
            "snapshot": None if isinstance(source, WorldSource) else source.snapshot,
        }
        for source in settings.sources
    }
    rows = sum(read.values())
    images = parts.table("images").height
    counts = {"rows": rows, "votes": votes.height, "dropped": rows - votes.height, "images": images}
    return counts | {"snapshot": digest.hexdigest(), "sources": sources}


def _require_votes(summary: dict[str, Any], drops: pl.DataFrame) -> None:
    for label, found in summary["sources"].items():
        if found["votes"] == 0:
            own = pl.col("id").str.starts_with(f"{label}:") if len(summary["sources"]) > 1 else pl.lit(value=True)
            first = [*drops.filter(own).iter_rows()][:1]
            said = f"; the first was dropped for {first[0][2]} ({first[0][3]}) at {first[0][1]}" if first else ""
            raise SuasionError(
                f"none of {found['rows']} rows can be used{said}",
                where=f"params.yaml: ingest.sources, {label}",
                do="look at that row; docs/bring-your-own-votes.md says what is needed",
            )
