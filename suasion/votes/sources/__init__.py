"""Where votes come from: one file per data set, found by the name in `ingest.source.name`.

A source is a function `(settings, seed) -> Iterator[RawVote]`. It reads its own format and yields one `RawVote` per row,
with references to the images, never their bytes; `suasion.votes.ingest` does the rest for all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol


class ImageRef(Protocol):
    """Where an image's bytes are; `name` says it in messages, and equal names mean equal bytes."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class RawVote:
    """One row of a source, before anything about it is checked."""

    row: str  # where it stands in the source, for the drops table
    prompt: str
    image_a: ImageRef
    image_b: ImageRef
    choice: str
    pair_id: str | None = None  # null: made from prompt and images
    annotator_id: str | None = None
    count: int = 1
    weight: float = 1.0
    voted_at: datetime | None = None
    source_split: str | None = None
    model_a: str | None = None
    model_b: str | None = None


Reader = Callable[[Any, int], Iterator[RawVote]]

SOURCES = {"world": "suasion.world.votes", "avt": "suasion.votes.sources.avt", "jsonl": "suasion.votes.sources.jsonl"}
"""Name in params.yaml -> module with `read_votes(settings, seed)`."""


def reader_of(name: str) -> Reader:
    """The reader of the source called `name`."""
    reader: Reader = import_module(SOURCES[name]).read_votes
    return reader
