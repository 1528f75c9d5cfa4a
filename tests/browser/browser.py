"""Debian's chromium, driven through its chromium-driver: what it shows, and what it asked for.

Given up: other browsers. What the page uses is years old in all of them.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage"),
)


@contextmanager
def started(profile: Path) -> Iterator[Chrome]:
    """A browser with a new profile in `profile`, that writes down its console and its requests. Skips where there is none."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        pytest.skip(
            "no browser: chromium and chromium-driver are not installed (apt-get install chromium chromium-driver)"
        )
    options = Options()
    options.binary_location = str(found[0])
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(str(found[1])))
    try:
        yield browser
    finally:
        browser.quit()


def look(browser: Chrome, *, width: int = 1200, dark: bool = False) -> None:
    """Take a screen of so many pixels, and light or dark; its window is the one that keys go to."""
    browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def visit(browser: Chrome, page: Path, where: str = "") -> None:
    """Open `page` anew at `#where`."""
    browser.get("about:blank")
    browser.get(page.as_uri() + (where and f"#{where}"))


def settle(browser: Chrome) -> None:
    """Wait until the browser has gone to its target: some frames later it would take the focus away."""
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100)))"
    )


def complaints(browser: Chrome) -> list[str]:
    """What the console has said since it was asked last: errors of scripts, and what the page's policy refused."""
    return [entry["message"] for entry in browser.get_log("browser")]


def asked_for(browser: Chrome) -> set[str]:
    """Addresses that were requested since it was asked last; of those that hold their own content, `data:`.

    What the page's policy refused was not sent.
    """
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    refused = {event["params"]["requestId"] for event in events if event["params"].get("blockedReason") == "csp"}
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [request["request"]["url"] for request in sent if request["requestId"] not in refused]
    return {"data:" if url.startswith("data:") else url.partition("#")[0] for url in urls}


def faults(browser: Chrome) -> list[str]:
    """Serious and critical ones that axe-core finds in what is shown: the rule and the place."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = browser.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
    return [
        f"{fault['id']}: {node['target']} {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def all_of(browser: Chrome, selector: str) -> list[WebElement]:
    """What of `selector` is shown."""
    return [element for element in browser.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]


def one_of(browser: Chrome, selector: str) -> WebElement:
    (found,) = all_of(browser, selector)
    return found


def overflow(browser: Chrome) -> int:
    """Pixels by which what is shown is wider than the screen."""
    script = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    return int(browser.execute_script(script))
