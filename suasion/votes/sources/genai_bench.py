"""GenAI-Bench (TIGER-Lab): votes of GenAI-Arena on image pairs, among them ties and "both bad"; CC-BY-4.0.

The schema is that of the data set's card. Read is the config `image_generation` (Parquet, images as bytes in the rows);
each row is one judgement of an unknown voter. Given up: image editing and video, which have no pair of plain images.
"""

from collections.abc import Iterator

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import image, name, place, read_published, short, split_of, words
from suasion.votes.sources.files import folder_of

COLUMNS = ("prompt", "left_model", "left_image", "right_model", "right_image", "vote_type")
CHOICES = {"leftvote": "a", "rightvote": "b", "tievote": "tie", "bothbad_vote": "both_bad"}


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """One vote per row; the left image is A. A vote type that is not of the four is left to ingest to name."""
    path = place(settings, "image_generation")
    root = folder_of(path)
    for row, _, content in read_published(settings, path, {"image_generation": COLUMNS}):
        if isinstance(content, BadRow):
            yield content
            continue
        vote = words(content.get("vote_type")).strip().lower()
        yield RawVote(
            row=row,
            prompt=words(content.get("prompt")),
            image_a=image(content.get("left_image"), root),
            image_b=image(content.get("right_image"), root),
            choice=CHOICES.get(vote) or short(content.get("vote_type")),
            source_split=split_of(row),
            model_a=name(content.get("left_model")),
            model_b=name(content.get("right_model")),
        )
