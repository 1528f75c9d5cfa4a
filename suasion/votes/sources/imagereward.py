"""ImageRewardDB (Xu et al., arXiv 2304.05977): experts' rankings, with ties, of four to nine images of a prompt; Apache-2.0.

The field names are those that four independent readers of the set use, that of `test.json` is checked against the file.
Read are the group layout (lists per prompt), the single-image layout (one row per image, gathered by `prompt_id`), and
the GitHub repository's `test.json`; lower ranks are better, equal ones are ties. The order of the images tells the winner
(in `test.json` the first is better in 59.0% of the strict pairs), so A and B are dealt by a hash. Given up: the loading
script, which `datasets` refuses, and the `*_pair` configs, whose columns are nowhere published; the single ratings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from suasion.params import PublicSource
from suasion.votes.sources import BadRow, ImageRef, RawVote
from suasion.votes.sources._published import (
    image,
    name,
    numbers,
    place,
    ranking,
    read_published,
    short,
    split_of,
    votes,
    words,
)
from suasion.votes.sources.files import MAX_RANKED, folder_of, ranking_votes

LAYOUTS = {
    "group": ("prompt_id", "prompt", "image_path", "rank"),
    "single": ("prompt_id", "prompt", "image", "rank", "image_amount_in_total"),
    "github": ("id", "prompt", "generations", "ranking"),
}
IMAGES = ("image_path", "image", "generations")
OPEN_PROMPTS = 1_000  # whose images are not all there yet; then the oldest is closed


@dataclass
class _Prompt:
    """A prompt of the single-image layout, as far as it has been read."""

    row: str
    prompt: str
    images: list[ImageRef] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)

    def votes(self) -> Iterator[RawVote | BadRow]:
        return ranking_votes(self.row, self.prompt, self.images, self.ranks, source_split=split_of(self.row))


def read_votes(settings: PublicSource, seed: int) -> Iterator[RawVote | BadRow]:
    """Every pair of every ranking, of unknown voters."""
    path = place(settings)
    root = folder_of(path)
    prompts: dict[tuple[str | None, str], _Prompt] = {}  # of the single-image layout
    for row, layout, content in read_published(settings, path, LAYOUTS, images=IMAGES):
        if isinstance(content, BadRow):
            yield content
        elif layout == "single":
            yield from _gather(row, content, root, prompts)
        else:
            images, ranks = ("generations", "ranking") if layout == "github" else ("image_path", "rank")
            found = content.get(images), content.get(ranks)
            yield from ranking(row, content.get("prompt"), *found, root, split=split_of(row))
    for prompt in prompts.values():
        yield from prompt.votes()


def _gather(
    row: str, content: dict[str, Any], root: str, prompts: dict[tuple[str | None, str], _Prompt]
) -> Iterator[RawVote | BadRow]:
    """Adds an image to its prompt; yields the prompt's votes with its last image."""
    rank, total = numbers([content.get("rank")]), votes(content.get("image_amount_in_total"))
    prompt_id = name(content.get("prompt_id"))
    if rank is None or not total or total > MAX_RANKED or prompt_id is None:
        found = [content.get(key) for key in ("prompt_id", "rank", "image_amount_in_total")]
        yield BadRow(row, "ranking_malformed", f"prompt_id, rank, image_amount_in_total {short(found)}")
        return
    key = split_of(row), prompt_id
    prompt = prompts.setdefault(key, _Prompt(row, words(content.get("prompt"))))
    prompt.images.append(image(content.get("image"), root))
    prompt.ranks += rank
    if len(prompt.images) >= total:
        yield from prompts.pop(key).votes()
    elif len(prompts) > OPEN_PROMPTS:
        yield from prompts.pop(next(iter(prompts))).votes()
