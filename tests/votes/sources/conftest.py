"""Fixtures of the source tests: a data folder, small real pictures, and reading a public source as a run does."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from suasion.errors import SuasionError
from suasion.params import PublicSource
from suasion.votes.sources import BadRow, RawVote, reader_of

Read = Callable[[str, str], list[RawVote | BadRow]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUASION_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def picture() -> Callable[[int], bytes]:
    """The bytes of a 48-pixel PNG; another number gives another picture."""

    def draw(number: int) -> bytes:
        file = io.BytesIO()
        Image.linear_gradient("L").resize((48, 48)).rotate(37 * number).convert("RGB").save(file, "PNG")
        return file.getvalue()

    return draw


def settings_of(name: str, path: str) -> PublicSource:
    """The settings with the snapshot that the error about a wrong one tells."""
    wrong = PublicSource(name=name, path=path, snapshot="0" * 64)
    with pytest.raises(SuasionError, match="snapshot") as caught:
        list(reader_of(name)(wrong, 0))
    found = re.findall("[0-9a-f]{64}", str(caught.value).replace("0" * 64, ""))
    return wrong.model_copy(update={"snapshot": found[0]})


@pytest.fixture(scope="session")
def settings() -> Callable[[str, str], PublicSource]:
    return settings_of


@pytest.fixture(scope="session")
def read() -> Read:
    """Everything that the source called `name` makes of the data at `path`."""

    def read(name: str, path: str) -> list[RawVote | BadRow]:
        return list(reader_of(name)(settings_of(name, path), 0))

    return read
