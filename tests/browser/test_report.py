from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.browser import all_of, asked_for, faults, look, one_of, overflow, settle, visit
from tests.browser.conftest import EXAMPLES
from tests.evaluation.finished import HOSTILE, SOURCES

PAGES = ("summary", "data", "training", "ablation", "evaluation", "gallery")
SCREENS = {"light": (1200, False), "dark": (1200, True), "phone": (390, False), "dark phone": (390, True)}
FOCUSABLE = "a[href], button, select, input, summary"


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def focused(browser: Chrome) -> str:
    """What has the focus, as its HTML begins."""
    return str(browser.execute_script("return document.activeElement.outerHTML.slice(0, 300)"))


def shown(browser: Chrome) -> list[str]:
    """Names of the examples that are shown, in order."""
    return [str(card.get_attribute("id")).removeprefix("example-") for card in all_of(browser, ".example")]


def choose(browser: Chrome, name: str, value: str) -> None:
    selector = "[data-order]" if name == "order" else f'[data-filter="{name}"]'
    Select(one_of(browser, selector)).select_by_value(value)


def search(browser: Chrome, words: str) -> None:
    field = one_of(browser, "input[type=search]")
    field.clear()
    field.send_keys(words)


def test_a_page_shows_itself_and_no_other(browser: Chrome, report: Path) -> None:
    visit(browser, report)
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["summary"]
    for name in PAGES:
        one_of(browser, f'header nav a[href="#{name}"]').click()
        assert [page.get_attribute("id") for page in all_of(browser, ".page")] == [name]
        assert one_of(browser, "[aria-current=page]").get_attribute("href").endswith(f"#{name}")
        assert browser.title.startswith(one_of(browser, ".page h2").text)
    browser.back()
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["evaluation"]


def test_the_whole_report_is_one_request(browser: Chrome, report: Path) -> None:
    asked_for(browser)
    for name in PAGES:
        visit(browser, report, name)
    assert asked_for(browser) - {"about:blank"} <= {report.as_uri(), "data:"}
    broken = browser.execute_script("return [...document.images].filter(image => !image.naturalWidth).length")
    assert broken == 0, "every picture is there"


def test_a_link_within_a_page_opens_that_page(browser: Chrome, report: Path) -> None:
    visit(browser, report, "breakdowns")
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["evaluation"]
    assert browser.execute_script("return document.getElementById('breakdowns').getBoundingClientRect().top") < 200


@pytest.mark.parametrize("where", ["nowhere", "%", "example-%E0%A4%A", "example-nobody", "main"])
def test_an_address_of_nothing_is_the_summary(browser: Chrome, report: Path, where: str) -> None:
    visit(browser, report, where)
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["summary"]


def test_without_scripts_it_is_one_long_page(browser: Chrome, report: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, report)
        assert [page.get_attribute("id") for page in all_of(browser, ".page")] == list(PAGES)
        assert len(all_of(browser, ".example")) == EXAMPLES
        assert not all_of(browser, ".controls, .more")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_filters_filter(browser: Chrome, report: Path) -> None:
    visit(browser, report, "gallery")
    assert len(shown(browser)) == 48
    assert one_of(browser, "#examples-said").text == f"48 of {EXAMPLES} shown"
    choose(browser, "answer", "right")
    right = {f"p{number}" for number in range(0, EXAMPLES, 2)}
    assert set(shown(browser)) == right
    assert one_of(browser, "#examples-said").text == f"30 of 30 shown, {EXAMPLES} in all"
    choose(browser, "contradiction", "yes")
    assert shown(browser) == []
    assert "No example fits" in one_of(browser, "#examples-said").text
    choose(browser, "answer", "")
    assert set(shown(browser)) == {f"p{number}" for number in range(1, EXAMPLES, 2) if number % 6 != 5}
    choose(browser, "contradiction", "")
    choose(browser, "source", SOURCES[1])
    assert set(shown(browser)) == {f"p{number}" for number in range(1, EXAMPLES, 2)}
    choose(browser, "margin", "0.3 to 0.45")
    assert shown(browser) == [], "the pairs of that source are clearer"
    choose(browser, "source", "")
    assert set(shown(browser)) == right


def test_sorting_sorts(browser: Chrome, report: Path) -> None:
    visit(browser, report, "gallery")
    mixed = shown(browser)
    assert mixed[:4] == ["p0", "p1", "p10", "p11"], "right and wrong in turn, by name"
    choose(browser, "order", "-votes")
    votes = [8 + int(name[1:]) % 3 for name in shown(browser)]
    assert votes == sorted(votes, reverse=True)
    choose(browser, "order", "confidence")
    sure = [{True: 0.0, False: 0.2}[int(name[1:]) % 6 == 5] for name in shown(browser)][:10]
    assert sure == [0.0] * 10, "of which nothing parses first"
    choose(browser, "order", "n")
    assert shown(browser) == mixed


def test_searching_finds_words_of_prompt_and_explanation(browser: Chrome, report: Path) -> None:
    visit(browser, report, "gallery")
    search(browser, "42 STARS")
    assert shown(browser) == ["p42"]
    search(browser, "in 7 alert(")
    assert "p7" in shown(browser)
    assert "p8" not in shown(browser)
    search(browser, "nothing of the kind")
    assert shown(browser) == []


def test_more_are_shown_when_asked(browser: Chrome, report: Path) -> None:
    visit(browser, report, "gallery")
    one_of(browser, "button.more").click()
    assert len(shown(browser)) == EXAMPLES
    assert not all_of(browser, "button.more")
    assert "example" in focused(browser), "and the first of them has the focus"


def test_a_link_opens_its_example(browser: Chrome, report: Path) -> None:
    visit(browser, report, f"example-p{EXAMPLES - 1}")
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["gallery"]
    card = one_of(browser, f"#example-p{EXAMPLES - 1}")
    assert card.get_attribute("class").split()[-1] == "open"
    assert card.find_element(By.CSS_SELECTOR, "dl").is_displayed()
    assert f'id="example-p{EXAMPLES - 1}"' in focused(browser)
    top = browser.execute_script("return document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 900, "it is on the screen"


def test_a_link_opens_an_example_that_a_filter_hides(browser: Chrome, report: Path) -> None:
    visit(browser, report, "gallery")
    choose(browser, "answer", "right")
    browser.execute_script("location.hash = '#example-p3'")
    assert one_of(browser, "#example-p3").find_element(By.CSS_SELECTOR, "dl").is_displayed()
    assert Select(one_of(browser, '[data-filter="answer"]')).first_selected_option.text == "all"
    one_of(browser, "#example-p3 dd a").click()
    assert browser.current_url.endswith("#example-p3")


def test_text_from_data_is_text(browser: Chrome, report: Path) -> None:
    visit(browser, report, "example-p0")
    card = one_of(browser, "#example-p0")
    assert card.find_element(By.CSS_SELECTOR, "h3").text == f"{HOSTILE} 0 stars"
    assert HOSTILE in card.find_element(By.CSS_SELECTOR, "blockquote").text
    assert browser.execute_script("return document.scripts.length") == 2
    visit(browser, report, "breakdowns")
    drawn = browser.execute_script("return [...document.querySelectorAll('svg text')].map(text => text.textContent)")
    assert any(text.startswith("<script>alert") for text in drawn)


def test_another_script_may_not_run(browser: Chrome, tmp_path: Path, report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    for number, evil in enumerate(("<script>document.title = 'evil'</script>", '<img src="http://localhost:9/x.png">')):
        path = tmp_path / f"{number}.html"
        path.write_text(page.replace("</header>", f"</header>{evil}"), encoding="utf-8")
        visit(browser, path)
        assert browser.title != "evil"
        said = [entry["message"] for entry in browser.get_log("browser")]
        assert any("Content Security Policy" in line for line in said), "this once the console has to complain"
        assert not {url for url in asked_for(browser) if url.startswith("http")}


def test_the_keyboard_reaches_everything_in_order(browser: Chrome, report: Path) -> None:
    for name in PAGES:
        visit(browser, report, name)
        settle(browser)
        if name == "gallery":
            search(browser, "1 stars")
            browser.execute_script("document.activeElement.blur()")
        # Who follows a link goes on from its target; here the way begins at the top.
        browser.execute_script("document.querySelector('.skip').focus()")
        wanted = [element.get_attribute("outerHTML")[:300] for element in all_of(browser, FOCUSABLE)]
        reached = []
        for _ in wanted:
            reached.append(focused(browser))
            press(browser, Keys.TAB)
        assert reached == wanted, name


def test_the_keyboard_is_enough(browser: Chrome, report: Path) -> None:
    visit(browser, report)
    settle(browser)
    press(browser, Keys.TAB)
    assert "Skip to the page" in focused(browser)
    for _ in PAGES:
        press(browser, Keys.TAB)
    assert 'href="#gallery"' in focused(browser)
    press(browser, Keys.ENTER)
    assert [page.get_attribute("id") for page in all_of(browser, ".page")] == ["gallery"]
    assert focused(browser).startswith("<h2"), "what one came for is read out"
    press(browser, Keys.TAB)
    assert 'data-filter="answer"' in focused(browser)
    press(browser, "w")
    assert len(shown(browser)) == EXAMPLES // 2, "the wrong ones"
    while "<summary" not in focused(browser):
        press(browser, Keys.TAB)
    assert not all_of(browser, "details[open]")
    press(browser, Keys.ENTER)
    assert len(all_of(browser, "details[open]")) == 1
    press(browser, Keys.TAB, Keys.ENTER)
    assert "#example-p" in browser.current_url


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_no_serious_fault(browser: Chrome, report: Path, screen: str) -> None:
    width, dark = SCREENS[screen]
    look(browser, width=width, dark=dark)
    for name in PAGES:
        visit(browser, report, name)
        assert faults(browser) == [], name
    visit(browser, report, "example-p3")
    assert faults(browser) == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(browser: Chrome, report: Path, width: int) -> None:
    look(browser, width=width)
    for name in PAGES:
        visit(browser, report, name)
        browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
        assert overflow(browser) <= 0, name
