"""AVT AI images: real people on real generated images (Goering et al., IEEE Access 2023 and QoMEX 2023; GPL-3.0).

53 raters gave absolute appeal ratings; a vote here is which of two images of one prompt a person rated higher. The folder
holds `votes.csv` (pair_id, prompt, image_a, image_b, model_a, model_b, annotator_id, choice) and the images it names.
"""

from collections.abc import Iterator

from suasion.params import AvtSource, data_folder
from suasion.votes.sources import RawVote
from suasion.votes.sources.folder import checked_folder, read_rows

COLUMNS = ("pair_id", "prompt", "image_a", "image_b", "model_a", "model_b", "annotator_id", "choice")


def read_votes(settings: AvtSource, seed: int) -> Iterator[RawVote]:
    """One vote per person and pair, in the file's order."""
    folder = checked_folder(data_folder() / settings.folder, settings.snapshot, what="the AVT AI images (docs/data.md)")
    yield from read_rows(folder, required=COLUMNS)
