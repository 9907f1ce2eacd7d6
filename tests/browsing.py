"""Pages of a server, looked at and used in headless Chromium."""

import importlib.util
import json
import time
from pathlib import Path

from tests.study import chromium

COMPLAINTS = (
    "Log.entryAdded",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Network.loadingFailed",
)
BEYOND = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.unseen, .skip'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""


def visit(browser: chromium.Browser, url: str, *, width: int = 1280, scheme: str = "light"):
    browser.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    browser.events.clear()
    browser.call("Page.navigate", url=url)
    wait(browser, "document.readyState === 'complete' && location.protocol === 'http:'")


def wait(browser: chromium.Browser, condition: str, seconds: float = 20.0):
    until = time.monotonic() + seconds
    while not browser.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < until, (condition, browser.evaluate("document.body.innerText"))
        time.sleep(0.05)


def click(browser: chromium.Browser, selector: str):
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def text(browser: chromium.Browser, selector: str) -> str:
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def stroke(browser: chromium.Browser, *points: tuple[float, float]):
    """Draw with the mouse; points are parts of the canvas."""
    box = browser.evaluate("""(() => { const b = document.getElementById('draw');
        b.scrollIntoView({block: 'center'}); const r = b.getBoundingClientRect();
        return [r.left, r.top, r.width, r.height]; })()""")
    kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
    for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=box[0] + x * box[2], y=box[1] + y * box[3],
            button="left", buttons=0 if kind == "mouseReleased" else 1, clickCount=1,
        )  # fmt: skip


def press(browser: chromium.Browser, key: str, times: int = 1):
    text = {" ": " ", "Enter": "\r"}.get(key)
    for _ in range(times):
        more = {"text": text} if text else {}
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        browser.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def complaints(browser: chromium.Browser) -> list[dict]:
    return [event for kind in COMPLAINTS for event in browser.happened(kind)]


def requested(browser: chromium.Browser) -> list[str]:
    """The addresses that the page has asked for."""
    return [e["request"]["url"] for e in browser.happened("Network.requestWillBeSent")]


def violations(browser: chromium.Browser) -> list[str]:
    """What axe finds wrong with a page: a rule and an element of each."""
    # The package would import Playwright; its file is all that is needed.
    place = importlib.util.find_spec("axe_playwright_python").submodule_search_locations[0]
    browser.evaluate((Path(place) / "axe.min.js").read_text())
    return browser.evaluate("""axe.run().then(({violations}) => violations.map(
        ({id, nodes}) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`))""")
