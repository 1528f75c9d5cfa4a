"""Pick-a-Pic v1 and v2 (Kirstain et al., arXiv 2305.01569): votes of the users of a web app on pairs of its images.

The schema is that of the cards; `jpg_0` and `jpg_1` of v1 are taken to be as in v2. Labels are floats: (1, 0) the first
image, (0, 1) the second, equal ones a tie, as PickScore's own training code reads them; without `has_label` nobody
voted. Given up: PickScore's weights of 1/`num_example_per_prompt`; our filter and intervals go by prompt.
"""

from collections.abc import Iterator

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import image, name, place, read_published, share, short, split_of, words
from suasion.votes.sources.files import folder_of, time

COLUMNS = ("caption", "jpg_0", "jpg_1", "label_0", "label_1")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per labelled row; image 0 is A. The splits `validation_unique` and `test_unique` are val and test."""
    path = place(settings, "data")
    root = folder_of(path)
    for row, _, content in read_published(settings, path, {"pairs": COLUMNS}):
        if isinstance(content, BadRow):
            yield content
            continue
        if content.get("has_label") is False:
            yield BadRow(row, "no_label", "has_label is false")
            continue
        first, second = share(content.get("label_0")), share(content.get("label_1"))
        if first is None or second is None or (first != second and {first, second} != {0.0, 1.0}):
            labels = content.get("label_0"), content.get("label_1")
            yield BadRow(row, "choice_unknown", f"labels {short(labels)}")
            continue
        yield RawVote(
            row=row,
            prompt=words(content.get("caption")),
            image_a=image(content.get("jpg_0"), root),
            image_b=image(content.get("jpg_1"), root),
            choice="tie" if first == second else "a" if first > second else "b",
            annotator_id=name(content.get("user_id")),
            voted_at=time(content.get("created_at")),
            source_split=split_of(row),
            model_a=name(content.get("model_0")),
            model_b=name(content.get("model_1")),
        )
