"""HPDv3 (MizzenAI, arXiv 2508.03789): pairs of wide origin, of which the first image is ALWAYS the preferred one.

The field names are those that two independent readers of the set use; its card was not at hand. Because the order tells
the winner, A and B are dealt by a hash. `choice_dist` counts the votes for both images; where it is null (pairs of
Discord, Midjourney and HPDv2) the row is one judgement for the first, weighed by `confidence` if there is one. Ties are
not in the data. Given up: `source`, for which the votes table has no column, and `confidence` beside counts that say it.
"""

from collections.abc import Iterator
from typing import Any

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import (
    image,
    items,
    name,
    place,
    read_published,
    share,
    short,
    split_of,
    votes,
    words,
)
from suasion.votes.sources.files import folder_of, in_fair_order

COLUMNS = ("prompt", "path1", "path2")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """The votes for each image of a row as one vote with their count; `train.json` and `test.json` give the split."""
    path = place(settings)
    root = folder_of(path)
    for row, _, content in read_published(settings, path, {"pairs": COLUMNS}, images=("path1", "path2")):
        if isinstance(content, BadRow):
            yield content
        else:
            yield from _votes(row, content, root)


def _votes(row: str, content: dict[str, Any], root: str) -> Iterator[RawVote | BadRow]:
    counts: dict[str, int] = {"a": 1}
    weight = 1.0
    if content.get("choice_dist") is None:
        weight = share(content.get("confidence")) or 1.0
    else:
        found = [votes(one) for one in items(content["choice_dist"])]
        if len(found) != 2 or None in found:
            yield BadRow(row, "counts_malformed", f"choice_dist {short(content['choice_dist'])}")
            return
        counts = {side: count for side, count in zip("ab", found, strict=True) if count} or counts
    for choice, count in counts.items():
        yield in_fair_order(
            RawVote(
                row=row,
                prompt=words(content.get("prompt")),
                image_a=image(content.get("path1"), root),
                image_b=image(content.get("path2"), root),
                choice=choice,
                count=count,
                weight=weight,
                source_split=split_of(row),
                model_a=name(content.get("model1")),
                model_b=name(content.get("model2")),
            )
        )
