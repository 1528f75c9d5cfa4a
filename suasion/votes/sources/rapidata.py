"""Rapidata's sets of crowd preferences: people in apps all over the world choose between two images; per-vote trust.

Three layouts, told apart by their columns:
- `counts` (700k_Human_Preference_Dataset_FLUX_SD3_MJ_DALLE3 and its siblings; card): `votes_image1`, `votes_image2`.
- `results` (open-image-preferences-v1-more-results; columns by the card, what is in its JSON is not): votes in texts.
- `shares` (human-style-preferences-images; UNVERIFIED, the columns are those of the publisher's upload script).

`detailed_results` is JSON as Rapidata's documentation and readers of the 700k set describe it: a list of records, or a
mapping with one under `votes`, each `{"votedFor": file, "userDetails": {"userScore": 0.78}}`, or `"userScores":
{"global": 0.78}`. A record is a vote with that trust as weight (1 where there are no details: half of the 700k). There
are no voters' ids. Which side a file is on is told by the image's path, else by its model, else by the shares that
must come out; where none tells, the counts are used. Without records and counts the shares are one judgement.

All files are called `train`, which is no split, so the source gives none. Given up: country and language of the voters,
for which the votes table has no column.
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
    share,
    short,
    votes,
    words,
)
from suasion.votes.sources.files import folder_of

LAYOUTS = {
    "counts": ("prompt", "image1", "image2", "votes_image1", "votes_image2"),
    "results": ("prompt", "image1", "image2", "aggregated_results", "detailed_results"),
    "shares": (
        "prompt",
        "image1",
        "image2",
        "weighted_results_image1_preference",
        "weighted_results_image2_preference",
    ),
}
Said = tuple[str, int, float]
"""Choice, count, weight."""


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per person where the records tell the side, else one per side with its count; image 1 is A."""
    path = place(settings, "data")
    root = folder_of(path)
    for row, layout, content in read_published(settings, path, LAYOUTS, verified=False):
        if isinstance(content, BadRow):
            yield content
            continue
        said = _records(content) or _counts(content) or _shares(content)
        if not said:
            keys = LAYOUTS[layout][3:]
            yield BadRow(row, "no_votes", f"neither records nor counts: {short({k: content.get(k) for k in keys})}")
        image_a, image_b = image(content.get("image1"), root), image(content.get("image2"), root)
        for choice, count, weight in said:
            yield RawVote(
                row=row,
                prompt=words(content.get("prompt")),
                image_a=image_a,
                image_b=image_b,
                choice=choice,
                count=count,
                weight=weight,
                model_a=name(content.get("model1")),
                model_b=name(content.get("model2")),
            )


def _records(content: dict[str, Any]) -> list[Said]:
    """A vote per record; none where there are no records, or one that is for neither side."""
    found = parsed(content.get("detailed_results") or content.get("detailed_results_preference"))
    if isinstance(found, dict):
        found = found.get("votes") or found.get("detailedResults")
    scores: list[tuple[str, float]] = []
    for record in items(found):
        if not isinstance(record, dict) or not words(record.get("votedFor")):
            return []
        scores.append((words(record["votedFor"]), _trust(record.get("userDetails"))))
    totals: dict[str, float] = {}
    for file, score in scores:
        totals[file] = totals.get(file, 0.0) + score
    sides = _sides(totals, content)
    return [(sides[file], 1, score) for file, score in scores] if sides else []


def _trust(details: Any) -> float:
    """A voter's trust score; 1 where there is none, 0 (which ingest drops) where it is no number from 0 to 1."""
    if not isinstance(details, dict):
        return 1.0
    scores = details.get("userScores")
    score = details.get("userScore", scores.get("global") if isinstance(scores, dict) else None)
    return 1.0 if score is None else share(score) or 0.0


def _sides(totals: dict[str, float], content: dict[str, Any]) -> dict[str, str]:
    """Which side each file is on, given each file's sum of trust; empty where that cannot be told."""
    if not 0 < len(totals) <= 2:
        return {}
    for tell in (_side_by_path, _side_by_model):
        sides = {file: tell(file, content) for file in totals}
        if all(sides.values()) and len(set(sides.values())) == len(totals):
            return sides
    first = share(content.get("weighted_results_image1_preference"))
    if first is None or abs(first - 0.5) < 0.01:  # the two ways would look alike
        return {}
    whole = sum(totals.values())
    for sides in (dict(zip(totals, order, strict=False)) for order in ("ab", "ba")):
        if whole and abs(sum(total for file, total in totals.items() if sides[file] == "a") / whole - first) < 0.005:
            return sides
    return {}


def _side_by_path(file: str, content: dict[str, Any]) -> str:
    """The side of an image with this path, or with this file name where paths differ in their folders."""
    paths: list[list[str]] = []
    for side in ("image1", "image2"):
        held = content.get(side)
        inner = held.get("path") if isinstance(held, dict) else held
        paths.append([found for found in (words(content.get(f"{side}_path")), words(inner)) if found])
    for end in (str, lambda path: path.rpartition("/")[2]):
        on = [side for side, known in zip("ab", paths, strict=True) if end(file) in [end(path) for path in known]]
        if len(on) == 1:
            return on[0]
    return ""


def _side_by_model(file: str, content: dict[str, Any]) -> str:
    """The side whose model the file's name starts with (`flux_12_0.jpg`, `flux/12_0.jpg`)."""
    on = [
        side
        for side, model in (("a", words(content.get("model1"))), ("b", words(content.get("model2"))))
        if model and file.startswith((f"{model}_", f"{model}/"))
    ]
    return on[0] if len(on) == 1 else ""


def _counts(content: dict[str, Any]) -> list[Said]:
    """The votes for each side as the row or its aggregate counts them."""
    found = [votes(content.get(f"votes_image{side}")) for side in (1, 2)]
    if None in found:
        totals = parsed(content.get("aggregated_results"))
        sides = _sides(dict.fromkeys(totals, 1.0), content) if isinstance(totals, dict) else {}
        found = [votes(sum(votes(totals[file]) or 0 for file in sides if sides[file] == side)) for side in "ab"]
    return [(side, count, 1.0) for side, count in zip("ab", found, strict=True) if count]


def _shares(content: dict[str, Any]) -> list[Said]:
    """One judgement for the side with more trust behind it."""
    first, second = (share(content.get(f"weighted_results_image{side}_preference")) for side in (1, 2))
    if first is None or second is None:
        return []
    return [("tie" if first == second else "a" if first > second else "b", 1, 1.0)]
