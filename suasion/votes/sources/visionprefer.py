"""VisionPrefer (Wu et al., arXiv 2404.15100): preferences of GPT-4 Vision, NOT of people. UNVERIFIED: no schema was found.

Neither a card nor a reader of the published files was at hand. What is expected is the least that such a set can be: a
prompt, its `images` (paths below the folder, or images in the row) and their `rank`s (1 is best, equal ones are ties),
one prompt per row. Other columns are an error that names them; the table source reads any other layout without code.
"""

from collections.abc import Iterator

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote
from suasion.votes.sources._published import place, ranking, read_published, split_of
from suasion.votes.sources.files import folder_of

COLUMNS = ("prompt", "images", "rank")


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """Every pair of every ranking; without a voter, because there is none."""
    path = place(settings, "data")
    root = folder_of(path)
    layouts = {"rankings": COLUMNS}
    for row, _, content in read_published(settings, path, layouts, images=("images",), verified=False):
        if isinstance(content, BadRow):
            yield content
            continue
        found = content.get("images"), content.get("rank")
        yield from ranking(row, content.get("prompt"), *found, root, split=split_of(row))
