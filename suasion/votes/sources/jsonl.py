"""Votes of your own: a folder with `votes.jsonl` (or `votes.csv`) and the images that it names.

Needed: prompt, image_a, image_b (paths in the folder), choice (a, b, tie or both_bad). Used where present: pair_id,
annotator_id, voted_at (ISO 8601), model_a, model_b, split (train, val, test or ood), weight, count.
"""

from collections.abc import Iterator

from suasion.params import JsonlSource, data_folder
from suasion.votes.sources import RawVote
from suasion.votes.sources.folder import checked_folder, read_rows

COLUMNS = ("prompt", "image_a", "image_b", "choice")


def read_votes(settings: JsonlSource, seed: int) -> Iterator[RawVote]:
    """One vote per row, in the file's order."""
    folder = checked_folder(data_folder() / settings.folder, settings.snapshot, what="your votes")
    yield from read_rows(folder, required=COLUMNS)
