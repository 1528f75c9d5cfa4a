"""Multimodal RewardBench 2 (Hu et al., arXiv 2512.16899): experts' choices between two models' images; a benchmark.

The columns are those of the card. Read is the config `t2i` (text to image). The values of `chosen` are a or b in either
case by two readers of the set; the usual other names of a side are taken too. What `human_annotations` holds was not
seen: where it is JSON with a choice per person that names a side in letters (numbers may be ratings), each is a vote;
else `chosen` is the one vote. Given up: the other configs, whose responses are text or several images.
"""

from collections.abc import Iterator
from typing import Any

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import (
    image,
    items,
    name,
    parsed,
    place,
    read_published,
    short,
    split_of,
    words,
)
from suasion.votes.sources.files import folder_of

COLUMNS = ("pair_id", "prompt_text", "response_a_images", "response_b_images", "chosen")
LETTERS = {
    **dict.fromkeys(("a", "response_a", "model_a", "left", "first"), "a"),
    **dict.fromkeys(("b", "response_b", "model_b", "right", "second"), "b"),
    **dict.fromkeys(("tie", "equal", "same", "draw"), "tie"),
}
CHOSEN = LETTERS | {"1": "a", "2": "b"}
CHOICE_KEYS = ("chosen", "choice", "preference", "preferred", "vote", "winner", "label")
VOTER_KEYS = ("annotator_id", "annotator", "user_id", "id")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per person where the annotations name people's choices, else one per row."""
    path = place(settings, "t2i")
    root = folder_of(path)
    for row, _, content in read_published(settings, path, {"t2i": COLUMNS}):
        if isinstance(content, BadRow):
            yield content
        else:
            yield from _votes(row, content, root)


def _votes(row: str, content: dict[str, Any], root: str) -> Iterator[RawVote | BadRow]:
    images = [items(content.get(f"response_{side}_images")) for side in "ab"]
    if [len(one) for one in images] != [1, 1]:
        yield BadRow(row, "image_count", f"{len(images[0])} and {len(images[1])} images, not one each")
        return
    chosen = content.get("chosen")
    token = str(chosen) if isinstance(chosen, int) else words(chosen).strip()
    votes = _annotations(content.get("human_annotations")) or [(None, CHOSEN.get(token.lower()) or short(chosen))]
    for voter, choice in votes:
        yield RawVote(
            row=row,
            prompt=words(content.get("prompt_text")),
            image_a=image(images[0][0], root),
            image_b=image(images[1][0], root),
            choice=choice,
            annotator_id=voter,
            source_split=split_of(row),
            model_a=name(content.get("response_a_model")),
            model_b=name(content.get("response_b_model")),
        )


def _annotations(value: Any) -> list[tuple[str | None, str]]:
    """Voter and choice of each annotation; none at all where one of them does not name a side."""
    found = parsed(value)
    people = list(found.items()) if isinstance(found, dict) else [(None, one) for one in items(found)]
    votes = []
    for voter, said in people[:1000]:
        if isinstance(said, dict):
            voter = next((said[key] for key in VOTER_KEYS if said.get(key) is not None), voter)
            said = next((said[key] for key in CHOICE_KEYS if said.get(key) is not None), None)
        votes.append((name(voter), LETTERS.get(words(said).strip().lower(), "")))
    return votes if all(choice for _, choice in votes) else []
