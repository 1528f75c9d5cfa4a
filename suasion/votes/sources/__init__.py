"""Where votes come from: one file per data set, found by its name, which is the `name` in `ingest.sources`.

A source is a module with `read_votes(settings, seed) -> Iterator[RawVote | BadRow]`. It reads its own format, row by row,
and yields judgements with references to the images; `suasion.votes.ingest` does the rest for all of them. Adding a data
set is adding one file to this folder. Given up: plugins from outside of the project.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from suasion.errors import SuasionError

_FOLDER = Path(__file__).parent
_WORLD = "suasion.world.votes"


class ImageRef(Protocol):
    """Where an image's bytes are; `name` says it in messages, and within a source equal names mean equal bytes."""

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class RawVote:
    """One judgement of a source, before anything about it is checked."""

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


@dataclass(frozen=True)
class BadRow:
    """A row that a source cannot make a judgement of: a line of the drops table."""

    row: str
    reason: str
    detail: str


Reader = Callable[[Any, int], Iterator[RawVote | BadRow]]


def source_names() -> list[str]:
    """What `name` of `ingest.sources` may be: `world`, and the files of this folder that are data sets."""
    files = {path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_")} - {"files"}
    return ["world", *sorted(files)]


def reader_of(name: str) -> Reader:
    """The reader of the source called `name`.

    Raises:
        SuasionError: there is no such source; the message has those that there are.
    """
    if name not in source_names():
        raise SuasionError(
            f"no source {name!r}; there are {', '.join(source_names())}",
            where="params.yaml: ingest.sources",
            do="name one of them, or add a file to suasion/votes/sources",
        )
    reader: Reader = import_module(_WORLD if name == "world" else f"{__name__}.{name}").read_votes
    return reader
