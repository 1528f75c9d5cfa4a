"""HPDv2 (Wu et al., arXiv 2306.09341): pairs to train on, rankings by several people to test on; Apache-2.0.

The schema is that of the card and of the HPSv2 repository. `train.json` has pairs with a one-hot `human_preference` and
no voter. `test.json` has rankings: each of `raw_annotations` is one person's ranking of the same images and gives that
person's votes; where there are none, the averaged `rank` counts once. That a raw `rank` is aligned with `image_path` as
the averaged one is, is read from the card, not checked against data. The derived set `hpdv2-test-no-embeds` (one row per
person and pair) is read too. Given up: the loading script of the repository; the files are read as they are.
"""

from collections.abc import Iterator
from typing import Any

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import (
    folder_in,
    image,
    items,
    name,
    numbers,
    place,
    ranking,
    read_published,
    short,
    split_of,
    words,
)
from suasion.votes.sources.files import folder_of

LAYOUTS = {
    "train": ("prompt", "file_path", "human_preference"),
    "test": ("prompt", "image_path", "rank"),
    "no_embeds": ("prompt", "image_left_id", "image_right_id", "pref", "user_id"),
}
IMAGES = ("file_path", "image_path", "image_left_id", "image_right_id")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per training pair; every pair of every person's ranking of the test images."""
    path = place(settings)
    root = folder_of(path)
    train, test = folder_in(root, "train"), folder_in(root, "test")  # two images may have one name
    for row, layout, content in read_published(settings, path, LAYOUTS, images=IMAGES, folders=(train, test)):
        if isinstance(content, BadRow):
            yield content
        elif layout == "train":
            yield _pair(row, content, root, train)
        elif layout == "test":
            yield from _rankings(row, content, root, test)
        else:
            yield _judgement(row, content, root, test)


def _pair(row: str, content: dict[str, Any], root: str, folder: str) -> RawVote | BadRow:
    paths, preference = items(content.get("file_path")), numbers(content.get("human_preference"))
    if len(paths) != 2 or preference not in ([1, 0], [0, 1]):
        return BadRow(row, "ranking_malformed", f"human_preference {short(content.get('human_preference'))}")
    return RawVote(
        row=row,
        prompt=words(content.get("prompt")),
        image_a=image(paths[0], root, folder),
        image_b=image(paths[1], root, folder),
        choice="a" if preference == [1, 0] else "b",
        source_split=split_of(row) or "train",
    )


def _rankings(row: str, content: dict[str, Any], root: str, folder: str) -> Iterator[RawVote | BadRow]:
    people = [one for one in items(content.get("raw_annotations")) if isinstance(one, dict)]
    for person in people or [{"rank": content.get("rank")}]:
        found = content.get("prompt"), content.get("image_path"), person.get("rank")
        voter, split = name(person.get("user_hash")), split_of(row) or "test"
        yield from ranking(row, *found, root, split=split, annotator_id=voter, folder=folder)


def _judgement(row: str, content: dict[str, Any], root: str, folder: str) -> RawVote | BadRow:
    preference = content.get("pref")
    if preference not in (1, -1):
        return BadRow(row, "choice_unknown", f"pref {short(preference)}")
    return RawVote(
        row=row,
        prompt=words(content.get("prompt")),
        image_a=image(content.get("image_left_id"), root, folder),
        image_b=image(content.get("image_right_id"), root, folder),
        choice="a" if preference == 1 else "b",
        annotator_id=name(content.get("user_id")),
        source_split="test",
    )
