"""A browser for all tests of this folder, and after every one of them: no complaint in its console, no request to anywhere."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.browser.browser import asked_for, complaints, look, started
from tests.evaluation.finished import build, leave, leave_measured, some_predictions, some_samples

EXAMPLES = 60  # more than are shown at first


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(_browser: Chrome) -> Iterator[Chrome]:
    """A wide, light screen; whatever a test opens must not complain, nor ask for more than files."""
    _browser.get("about:blank")
    look(_browser)
    complaints(_browser), asked_for(_browser)
    yield _browser
    assert complaints(_browser) == []
    beyond = {url for url in asked_for(_browser) if not url.startswith(("file:///", "data:", "about:blank"))}
    assert not beyond


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report with `EXAMPLES` examples and every section."""
    folder = tmp_path_factory.mktemp("run")
    leave(folder)
    leave_measured(folder, ["warmstart", "released", "sft"])
    samples = some_samples(EXAMPLES)
    with contextlib.chdir(folder):
        build(
            folder / "report", samples, predictions=some_predictions(samples, models=["warmstart", "released", "sft"])
        )
    return folder / "report" / "index.html"
