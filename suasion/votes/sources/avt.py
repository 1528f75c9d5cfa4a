"""AVT AI images: real people on real generated images (Goering et al., IEEE Access 2023 and QoMEX 2023; GPL-3.0).

53 raters gave absolute appeal ratings; a vote here is which of two images of one prompt a person rated higher. The folder
holds `votes.csv` (pair_id, prompt, image_a, image_b, model_a, model_b, annotator_id, choice) and the images it names.
"""

from collections.abc import Iterator

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources.files import as_image, check_snapshot, locate, read_checked, snapshot_of, text

COLUMNS = ("pair_id", "prompt", "image_a", "image_b", "model_a", "model_b", "annotator_id", "choice")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per person and pair, in the file's order."""
    folder = locate(settings.path).rstrip("/")
    votes = f"{folder}/votes.csv"
    check_snapshot(snapshot_of(votes, folder, ("image_a", "image_b")), settings.snapshot, where=folder)
    for where, row in read_checked(votes, COLUMNS):
        if isinstance(row, BadRow):
            yield row
            continue
        yield RawVote(
            row=where,
            prompt=text(row["prompt"]) or "",
            image_a=as_image(row["image_a"], folder),
            image_b=as_image(row["image_b"], folder),
            choice=text(row["choice"]) or "",
            pair_id=text(row["pair_id"]),
            annotator_id=text(row["annotator_id"]),
            model_a=text(row["model_a"]),
            model_b=text(row["model_b"]),
        )
