import contextlib
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import Select

from suasion.evaluation.compare import compare_runs
from tests.browser.browser import all_of, faults, look, one_of, overflow, visit
from tests.evaluation.finished import HOSTILE, leave_run, leave_shards, said_of
from tests.shards.pairs import make_pairs


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs 0 and 1 got better and pair 2 worse, of which only the test pairs have images."""
    folder = tmp_path_factory.mktemp("runs")
    pairs = make_pairs(folder / "images", test=2, ood=2)
    leave_run(folder / "first", said_of(pairs, {"pair-0000": "", "pair-0001": "ab"}))
    leave_run(folder / "second", said_of(pairs, {"pair-0002": ""}))
    leave_shards(folder / "second", pairs.filter(pairs["split"] == "test"), folder / "images")
    with contextlib.chdir(folder):
        compare_runs("first", "second", Path("comparison.html"))
    return folder / "comparison.html"


def test_what_changed_sides_can_be_filtered_and_linked_to(browser: Chrome, comparison: Path) -> None:
    visit(browser, comparison)
    one_of(browser, ".page a[href='#changed']").click()
    assert len(all_of(browser, ".example")) == 3
    assert len(all_of(browser, ".example img")) == 4
    assert HOSTILE in one_of(browser, "#example-pair-0000").text
    Select(one_of(browser, "[data-filter=change]")).select_by_value("worse")
    assert [card.get_attribute("id") for card in all_of(browser, ".example")] == ["example-pair-0002"]
    visit(browser, comparison, "example-pair-0001")
    assert one_of(browser, "#example-pair-0001 dl").is_displayed()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_the_comparison_has_no_serious_fault(browser: Chrome, comparison: Path, width: int, dark: bool) -> None:
    look(browser, width=width, dark=dark)
    for name in ("summary", "changed"):
        visit(browser, comparison, name)
        assert faults(browser) == []
        assert overflow(browser) <= 0
