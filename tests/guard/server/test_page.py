"""The page in a browser: draw, verdict, quarantine, label; with pointer and with keyboard."""

import base64

import pytest
from tests import browsing
from tests.browsing import BEYOND, complaints, press, requested, stroke, wait
from tests.study import chromium

from denseam.guard.server.quarantine.export import png

from .serving import eventually, serving

pytestmark = pytest.mark.skipif(chromium.find() is None, reason=chromium.HOW_TO_INSTALL)

KEY = "a-key-that-is-long-enough"

LEFT = "document.querySelector('.gauge .%s').getBoundingClientRect().left"
UNNAMED = """[...document.querySelectorAll('button, input, select, canvas, a')]
  .filter(e => e.checkVisibility())
  .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))
  .map(e => e.outerHTML)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(chromium.find(), tmp_path_factory.mktemp("chromium")) as running:
        yield running


def visit(browser, port, path="/", **options):
    browsing.visit(browser, f"http://localhost:{port}{path}", **options)


@pytest.mark.parametrize("width", [400, 1280])
def test_drawn_judged_set_aside_and_labelled(browser, guard_file, tmp_path, width):
    with serving(guard_file, tmp_path) as server:
        visit(browser, server.port, width=width)
        wait(browser, "document.getElementById('state').textContent === '0 items'")
        stroke(browser, (0.55, 0.2), (0.5, 0.5), (0.45, 0.8))
        browser.evaluate("document.getElementById('go').click()")
        wait(browser, "document.querySelector('#verdict .label')")
        assert browser.evaluate("document.querySelector('#verdict .label').textContent") == "1"
        wait(browser, "document.querySelectorAll('.memories canvas').length >= 3")
        assert browsing.text(browser, "#votes h3") == "Memories that vote for 1"
        assert "of clean images score as high" in browsing.text(browser, ".gauge figcaption")
        assert browser.evaluate(LEFT % "marker") < browser.evaluate(LEFT % "limit")

        browser.evaluate("document.getElementById('clear').click()")
        for line in ([(0.1, 0.1), (0.9, 0.9)], [(0.1, 0.9), (0.9, 0.1)], [(0.1, 0.5), (0.9, 0.5)],
                     [(0.5, 0.1), (0.5, 0.9)]):  # fmt: skip
            stroke(browser, *line)
        browser.evaluate("document.getElementById('go').click()")
        wait(browser, "document.querySelector('#verdict .junk')")
        assert browser.evaluate(LEFT % "marker") > browser.evaluate(LEFT % "limit")
        wait(browser, "document.querySelectorAll('#items > li').length === 1")
        assert browsing.violations(browser) == []
        assert browser.evaluate(UNNAMED) == []
        assert browser.evaluate(BEYOND) == []
        assert browser.evaluate("document.documentElement.scrollWidth") <= width

        browser.evaluate("document.querySelector('#items button:nth-child(5)').focus()")
        press(browser, "Enter")
        wait(browser, "document.querySelector('#items [aria-pressed=true]')?.textContent === '4'")
        assert browser.evaluate("document.activeElement.textContent") == "4"
        (item,) = server.ask("GET", "/quarantine").json["items"]
        assert (item["label"], item["source"]) == (4, "page")

        assert all(u.startswith(f"http://localhost:{server.port}/") for u in requested(browser))
        assert complaints(browser) == []


def test_everything_can_be_done_with_the_keyboard(browser, server):
    visit(browser, server.port)
    wait(browser, "document.getElementById('state').textContent.endsWith('items')")
    browser.evaluate("document.getElementById('draw').focus()")
    assert browser.evaluate("document.getElementById('draw').matches(':focus-visible')")
    press(browser, "ArrowUp", 9)
    press(browser, " ")
    assert browser.evaluate("document.getElementById('pen').textContent") == "Pen down"
    press(browser, "ArrowDown", 18)
    press(browser, " ")
    press(browser, "Enter")
    wait(browser, "document.querySelector('#verdict .label')")
    assert browser.evaluate("document.querySelector('#verdict .label').textContent") == "1"
    press(browser, "Delete")
    press(browser, "Enter")
    wait(browser, "document.querySelector('#verdict .nothing')")
    assert complaints(browser) == []


def test_a_dropped_file_is_centred_as_mnist_is(browser, server, digits):
    """A digit that is small, dark on light and in a corner comes back as it was."""
    visit(browser, server.port)
    wait(browser, "document.getElementById('state').textContent.endsWith('items')")
    seven = digits[0].repeat_interleave(3, 0).repeat_interleave(3, 1)
    page = seven.new_full((200, 300), 255)
    page[100:184, 10:94] = 255 - seven
    data = base64.b64encode(png(page)).decode()
    browser.evaluate(f"""(async () => {{
      const bytes = Uint8Array.from(atob('{data}'), c => c.charCodeAt(0));
      const files = new DataTransfer();
      files.items.add(new File([bytes], 'digit.png', {{type: 'image/png'}}));
      document.dispatchEvent(new DragEvent('drop', {{dataTransfer: files, cancelable: true}}));
    }})()""")
    wait(browser, "document.querySelector('#verdict .label')?.textContent === '7'")
    seen = browser.evaluate("""(() => { const c = document.querySelector('#verdict canvas');
        return [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)
        })()""")
    seen = digits[0].new_tensor(seen).reshape(28, 28).double()
    original = digits[0].double()
    overlap = (seen * original).sum() / (seen.norm() * original.norm())
    assert overlap > 0.99
    assert complaints(browser) == []


def test_a_key_is_asked_for_and_used(browser, guard_file, tmp_path):
    (tmp_path / "keys").write_text(f"page {KEY}\n")
    with serving(guard_file, tmp_path, api_key_file=str(tmp_path / "keys")) as server:
        visit(browser, server.port)
        wait(browser, "!document.getElementById('key-form').hidden")
        browser.evaluate(f"""(() => {{ document.getElementById('key').value = '{KEY}';
            document.querySelector('#key-form button').click(); }})()""")
        wait(browser, "document.getElementById('state').textContent === '0 items'")
        assert browser.evaluate("document.getElementById('key-form').hidden")


def test_the_description_of_the_api_works_offline(browser, server):
    visit(browser, server.port, "/docs", width=400)
    wait(browser, "document.querySelectorAll('details').length >= 10")
    browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert "#/components/" not in browser.evaluate("document.body.innerText")  # all is laid out
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400
    assert complaints(browser) == []


def test_a_database_that_is_away_is_said_in_words(browser, guard_file, tmp_path):
    with serving(guard_file, tmp_path) as server:
        visit(browser, server.port)
        wait(browser, "document.getElementById('state').textContent === '0 items'")
        (tmp_path / "quarantine.sqlite").rename(tmp_path / "gone")
        browser.evaluate("document.getElementById('reload').click()")
        wait(browser, "document.getElementById('state').textContent.includes('database is away')")
        eventually(lambda: server.ready()["quarantine"] == "database_away")
