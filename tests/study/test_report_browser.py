"""The report in a browser: no request, no complaint, nothing cut off, on a phone and on paper."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from denseam.study.report import render

from . import chromium, published
from .sample_results import FIGURES, sample_pictures, sample_results

pytestmark = pytest.mark.skipif(chromium.find() is None, reason=chromium.HOW_TO_INSTALL)

# Pages, and how many pictures they show.
PAGES = {"whole": len(FIGURES), "quick": len(FIGURES), "published": len(published.FIGURES)}
PAPER = 672  # CSS pixels between the margins of A4

# axe checks pages for accessibility; the package that has it would import Playwright.
_HOME = importlib.util.find_spec("axe_playwright_python")
AXE = Path(_HOME.submodule_search_locations[0], "axe.min.js") if _HOME else None

# Elements that reach beyond a width, outside of the boxes that scroll.
OVERFLOWING = """[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll, .unseen, .skip, thead') || e.matches('.scroll'))
  .filter(e => e.getBoundingClientRect().right > %d + 1)
  .map(e => e.outerHTML.slice(0, 120))"""

# Boxes whose contents are wider than they are.
CUT = """[...document.querySelectorAll('.scroll')]
  .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.getAttribute('aria-labelledby'))"""

IMAGES = """[...document.images].map(i => ({
  natural: i.naturalWidth / i.naturalHeight, shown: i.width / i.height, width: i.width,
  complete: i.complete, background: getComputedStyle(i).backgroundColor}))"""

# The lowest contrast of text on what lies behind it (WCAG 2), and where.
CONTRAST = """(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => rgb(c).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if ((rgb(c)[3] ?? 1) > 0) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const seen = [...document.querySelectorAll('body *')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length);
  return seen.map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 100)];
  }).reduce((worst, x) => x[0] < worst[0] ? x : worst);
})()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Files in a folder of their own: a whole run, a quick one, and that of the documentation."""
    folder = tmp_path_factory.mktemp("pages")
    pictures = sample_pictures()
    shown = {
        "whole": (sample_results(quick=False), pictures),
        "quick": (sample_results(quick=True), pictures),
        "published": published.results_and_pictures(),
    }
    for name, (results, its_pictures) in shown.items():
        (folder / f"{name}.html").write_text(render(results, its_pictures), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(chromium.find(), tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 400, 768, 1280])
def test_a_browser_requests_nothing_reports_nothing_and_cuts_nothing(browser, pages, width, name):
    browser.open(pages / f"{name}.html", width=width)
    asked = [e["request"]["url"] for e in browser.happened("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [
        (pages / f"{name}.html").as_uri()
    ]
    for complaint in (
        "Log.entryAdded",
        "Runtime.consoleAPICalled",
        "Runtime.exceptionThrown",
        "Network.loadingFailed",
    ):
        assert browser.happened(complaint) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING % width) == []
    browser.evaluate(OPEN)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING % width) == []
    images = browser.evaluate(IMAGES)
    assert len(images) == PAGES[name]
    for image in images:
        assert image["complete"]
        assert image["width"] > 100
        assert image["shown"] == pytest.approx(image["natural"], rel=0.02)
        assert image["background"] == "rgb(255, 255, 255)"


OPEN = "document.querySelectorAll('details').forEach(e => e.open = true)"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "height"), [(400, 12_000), (1280, 5_000)])
def test_a_page_opens_short_with_its_figures_on_the_first_screen(
    browser, pages, width, height, name
):
    browser.open(pages / f"{name}.html", width=width)
    assert browser.evaluate("document.documentElement.scrollHeight") < height
    if width == 1280 and name == "published":
        ends = """[...document.querySelectorAll('.first img')]
          .map(e => e.getBoundingClientRect().bottom)"""
        assert max(browser.evaluate(ends)) < 900


SEARCH = """(words => { const box = document.getElementById('search'); box.value = words;
  box.dispatchEvent(new Event('input'));
  return [document.querySelector('.all').open, document.querySelector('.search output').value,
          [...document.querySelectorAll('.numbers tr[id]')].filter(e => e.checkVisibility())
            .map(e => e.id)]; })(%s)"""


def test_numbers_are_found_by_words(browser, pages):
    browser.open(pages / "whole.html", width=1280)
    assert browser.evaluate("document.getElementById('search').checkVisibility()")
    found = browser.evaluate(SEARCH % json.dumps("ERROR n30 0.3"))
    assert found == [True, "2 of 93", ["row-sign/n30/eps=0.3", "row-sign/n30/eps=0.35"]]
    assert browser.evaluate(SEARCH % json.dumps("nothing like it"))[2] == []
    assert browser.evaluate(SEARCH % '""')[:2] == [False, ""]


def test_without_scripts_the_page_is_whole(browser, pages):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages / "whole.html", width=1280)
        assert not browser.evaluate("document.getElementById('search').checkVisibility()")
        browser.evaluate("document.querySelector('.all > summary').click()")
        shown = "document.querySelector('.numbers tr[id]').checkVisibility()"
        assert browser.evaluate(shown)
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.skipif(AXE is None, reason="no axe here: pip install axe-playwright-python")
@pytest.mark.parametrize("width", [400, 1280])
def test_a_checker_of_accessibility_finds_nothing(browser, pages, width):
    browser.open(pages / "quick.html", width=width)
    browser.evaluate(AXE.read_text())
    browser.evaluate(OPEN)
    # Contrast has a test of its own, which takes a hundredth of the time.
    run = "axe.run(document, {rules: {'color-contrast': {enabled: false}}})"
    wrong = f"{run}.then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))"
    assert browser.evaluate(wrong) == []


def test_on_a_phone_rows_become_cards_and_wide_tables_scroll_in_their_box(browser, pages):
    browser.open(pages / "whole.html", width=400)
    browser.evaluate(OPEN)
    assert "table-sign" in browser.evaluate(CUT)
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('.numbers tr')).display")
        == "block"
    )
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('.numbers tr td')).display")
        == "grid"
    )
    narrow = """Math.min(...[...document.querySelectorAll('.numbers .command')]
      .map(e => e.parentElement.clientWidth))"""
    assert browser.evaluate(narrow) > 300


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_text_stands_out_from_its_background(browser, pages, media, scheme):
    browser.open(pages / "quick.html", width=1280, media=media, scheme=scheme)
    browser.evaluate(OPEN)
    contrast, where = browser.evaluate(CONTRAST)
    assert contrast >= 4.5, where
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = scheme == "dark" and media == "screen"
    assert (paper != "rgb(255, 255, 255)") is dark


def test_a_number_leads_to_its_row(browser, pages):
    browser.open(pages / "whole.html", width=1280)
    link = 'a.number[href$="eps%3D0.3"]'
    browser.evaluate(f"document.querySelector({json.dumps(link)}).click()")
    reached = browser.evaluate("""new Promise(done => requestAnimationFrame(() => done([
      document.querySelector(':target')?.id,
      document.querySelector(':target')?.getBoundingClientRect().top])))""")
    assert reached[0] == "row-sign/n2/eps=0.3"
    assert 0 <= reached[1] < 900


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_nothing_is_cut(browser, pages, name):
    browser.open(pages / f"{name}.html", width=PAPER, media="print")
    assert browser.evaluate("document.documentElement.scrollWidth") <= PAPER
    assert browser.evaluate(OVERFLOWING % PAPER) == []
    assert browser.evaluate(CUT) == []
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('figure')).breakInside")
        == "avoid"
    )
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) >= 8
    assert pdf.count(b"/Subtype /Image") >= PAGES[name]
    assert pdf.count(b"/Type /Font\n") > 2


def test_the_tests_see_a_page_that_is_broken(browser, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(
        "<!DOCTYPE html><html><body><img src='missing.png'><script>nothing.at.all()</script>"
        "<p style='width: 900px; color: #aaa'>wide and pale</p></body></html>"
    )
    browser.open(broken, width=400)
    assert len(browser.happened("Network.requestWillBeSent")) == 2
    assert browser.happened("Network.loadingFailed")
    assert browser.happened("Runtime.exceptionThrown")
    assert browser.evaluate("document.documentElement.scrollWidth") > 400
    assert browser.evaluate(OVERFLOWING % 400)
    assert browser.evaluate(CONTRAST)[0] < 3
