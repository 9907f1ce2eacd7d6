"""The explorer in a browser: its numbers are the library's, and all of it can be used."""

import base64
import json
import threading

import pytest
import torch
from tests import browsing
from tests.browsing import BEYOND, click, complaints, press, requested, text, violations, wait
from tests.study import chromium

import denseam
from denseam import energy
from denseam.explorer import server
from denseam.fronts.centring import centred
from denseam.retrieval import AssociativeMemory

pytestmark = pytest.mark.skipif(chromium.find() is None, reason=chromium.HOW_TO_INSTALL)

POWERS = (2, 3, 20, 30)
LABELS = "[...document.querySelectorAll('.card .label')].map(e => e.textContent).join(' ')"
LOADED = "document.querySelectorAll('#memories li').length === 9"
RESTS = "document.getElementById('halt').disabled"

# Modules of the page, a model of the four, and states in [-1, 1] from bytes.
START = """
  const [{Memory}, {centred}] = await Promise.all([import('./memory.js'), import('./centring.js')]);
  const model = async (n) => Memory.fromFile(
    await (await fetch(`models/mnist-n${n}.safetensors`)).arrayBuffer());
  const states = (text) => { const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return [...Array(bytes.length / 784).keys()].map(i =>
      Float32Array.from(bytes.subarray(784 * i, 784 * (i + 1)), x => x / 127.5 - 1)); };"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(chromium.find(), tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def url():
    with server(0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def test_images():
    return denseam.data.load("mnist").test


@pytest.fixture(scope="module")
def page(browser, url):
    """A page whose modules are asked, and nothing else is done on it."""
    browsing.visit(browser, url)
    wait(browser, LOADED)
    return browser


def asked(browser, script, **values):
    """The value of a script with the page's modules; tensors go as base64 of their bytes."""
    given = {
        name: base64.b64encode(value.contiguous().numpy().tobytes()).decode()
        if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }  # fmt: skip
    return browser.evaluate(
        f"(async () => {{ {START} const given = {json.dumps(given)}; {script} }})()"
    )


@pytest.mark.parametrize("power", POWERS)
def test_labels_and_energies_are_those_of_the_library(page, test_images, power):
    images = test_images.subset(slice(1000))
    answers = asked(
        page, """const m = await model(given.power);
        return states(given.images).map(s => { const {label, logEnergies} = m.look(s);
          return [label, ...logEnergies]; });""",
        power=power, images=images.images,
    )  # fmt: skip
    answers = torch.tensor(answers, dtype=torch.float64)
    model = denseam.load_pretrained(f"mnist-n{power}")
    assert torch.equal(answers[:, 0].long(), model.predict(images))
    logs = model.exact_scores(images.visible())
    assert torch.allclose(answers[:, 1:], logs, rtol=1e-6, atol=0)


def test_activities_and_shares_are_those_of_the_library_at_any_power(page, test_images):
    images = test_images.subset(slice(3))
    model = denseam.load_pretrained("mnist-n20").double()
    for power in (1, 2, 20, 100):
        answers = asked(
            page, """const m = await model(20);
            return states(given.images).map(s => { const l = m.look(s, given.power);
              const { memories, half } = m.shares(l.off, l.label, 5, given.power);
              return { ...l, off: 0, logs: 0, logEnergies: [...l.logEnergies], half,
                activities: [...l.activities],
                memories: memories.map(x => [x.position, x.share]) }; });""",
            power=power, images=images.images,
        )  # fmt: skip
        asks = denseam.DenseAM(784, 10, 2000, power, model.temperature, dtype=torch.float64)
        asks.memories.data.copy_(model.memories.data)
        for answer, state in zip(answers, images.visible().double(), strict=True):
            logs = energy.log_energy(state[None], asks.memories, power)[0]
            assert answer["logEnergies"] == pytest.approx(logs.tolist(), rel=1e-6)
            activity = energy.class_activity(state[None], asks.memories, power, asks.temperature)[0]
            assert answer["activities"] == pytest.approx(activity.tolist(), rel=1e-3, abs=1e-6)
            votes = asks.explain(state, count=5).predicted
            assert [answer["label"], answer["half"]] == [votes.label, votes.n_half]
            assert [position for position, _ in answer["memories"]] == votes.positions.tolist()
            shares = [share for _, share in answer["memories"]]
            assert shares == pytest.approx(votes.shares.tolist(), rel=1e-5)


def test_an_image_without_an_active_memory_has_no_label_but_breaks_nothing(page):
    answer = asked(page, """const m = await model(2); m.rows.fill(0);
        const facts = {power: 2, temperature: 1, n_visible: 784};
        const empty = new Memory(m.rows, [m.K, m.width], facts);
        const state = new Float32Array(784);
        const {logEnergies, off, activities} = empty.look(state);
        return [logEnergies.every(x => x === -Infinity), activities.every(y => y === 0),
          empty.shares(off, 0, 5).memories.length, empty.descend(state, 1)];""")  # fmt: skip
    assert answer == [True, True, 0, None]


def test_a_drawing_is_centred_as_the_library_does(page, test_images):
    digits = test_images.images[:40].reshape(-1, 28, 28)
    pages = digits.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, 20:92, 16:96]
    drawings = torch.zeros(40, 112, 112, dtype=torch.uint8)
    for i, each in enumerate(pages):
        drawings[i, i : i + 72, 30 - i // 2 : 110 - i // 2] = each
    drawings[0] = 0
    drawings[drawings == 51] = 52  # a fifth of the brightest: whether that is ink is rounding
    answers = asked(
        page, """const bytes = Uint8Array.from(atob(given.drawings), c => c.charCodeAt(0));
        return [...Array(40).keys()].map(i => [...centred(Float32Array.from(
          bytes.subarray(112 * 112 * i, 112 * 112 * (i + 1)), x => x / 255), 112, 112)]);""",
        drawings=drawings,
    )  # fmt: skip
    states = centred(drawings.double() / 127.5 - 1, (28, 28), invert=False).flatten(1)
    assert torch.allclose(torch.tensor(answers, dtype=torch.float64), states, atol=1e-5)
    assert (states[0] == -1).all()


@pytest.mark.parametrize("power", [2, 30])
def test_a_way_across_a_boundary_is_that_of_the_library(page, test_images, power):
    images = test_images.subset(slice(3))
    model = denseam.load_pretrained(f"mnist-n{power}").double()
    crossed = denseam.cross_boundary(model, images.visible().double(), max_steps=400)
    answers = asked(
        page, """const m = await model(given.power);
        return states(given.images).map((s, i) => { let steps = 0; const target = given.targets[i];
          for (; m.look(s).label !== target && steps < 400; steps++) s = m.descend(s, target);
          return [steps, ...s]; });""",
        power=power, images=images.images, targets=crossed.targets.tolist(),
    )  # fmt: skip
    answers = torch.tensor(answers)
    assert answers[:, 0].tolist() == crossed.steps.tolist()
    assert torch.allclose(answers[:, 1:], crossed.images.float(), atol=1e-4)


@pytest.mark.parametrize("power", [30, 100])
def test_a_covered_digit_is_remembered_as_the_library_does(page, test_images, power):
    images = test_images.subset(slice(3))
    model = denseam.DenseAM(784, 10, 2000, power, 600.0)
    model.memories.data.copy_(denseam.load_pretrained("mnist-n30").memories.data)
    memory = AssociativeMemory.of_model(model)
    covered = memory.cover(images.visible(), "bottom")
    ends = memory.retrieve(covered.states, covered.known).states[:, :784]
    answers = asked(
        page, """const [m, {cover}] = [await model(30), await import('./view.js')];
        return states(given.images).map(s => { const {state, mask} = cover(s, 'bottom', 28);
          const begin = Float32Array.from({length: m.width}, (_, i) => state[i] ?? -1);
          let [whole, length] = [begin, 0.1];
          const free = whole.map((_, i) => mask[i] ?? 1);
          for (let steps = 0, moved = 1; moved > 1e-5 && steps < 100; steps++)
            ({whole, length, moved} = m.retrieve(whole, free, length, given.power));
          return [...whole.slice(0, 784)]; });""",
        power=power, images=images.images,
    )  # fmt: skip
    assert torch.allclose(torch.tensor(answers), ends, atol=1e-3)
    new = ends[:, 392:] > 0
    assert bool(new.any(dim=1).all()) == (power == 100)  # at 30 the memories blend into paper


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_draw_choose_lead_and_remember(browser, url, width, scheme):
    browsing.visit(browser, url, width=width, scheme=scheme)
    wait(browser, LOADED)
    click(browser, "#clear")
    browsing.stroke(browser, (0.3, 0.2), (0.72, 0.2), (0.5, 0.5), (0.45, 0.85))
    wait(browser, f"{LABELS} === '7 7 7 7'")
    wait(browser, "document.getElementById('said').textContent.startsWith('n = 2 says 7, n = 3')")

    click(browser, "#examples button:nth-child(5)")
    wait(browser, f"{LABELS} === '4 4 4 4'")
    click(browser, "#targets button:nth-child(10)")
    wait(browser, f"{RESTS} && {LABELS} === '9 4 4 4'")
    assert text(browser, "#progress").startswith("Across the boundary")
    assert browser.evaluate("document.querySelectorAll('#curve polyline').length") == 2
    assert text(browser, "#voting-title") == "The memories that vote for 9"
    click(browser, "#back")
    wait(browser, f"{LABELS} === '4 4 4 4'")

    click(browser, "#focus-30")
    wait(browser, "document.getElementById('voting-text').textContent.startsWith('Of n = 30')")
    click(browser, "#powers button:last-child")
    wait(browser, "document.getElementById('voting-text').textContent.includes('with n = 100')")
    click(browser, "[data-cover=bottom]")
    click(browser, "#retrieve")
    wait(browser, f"{RESTS} && document.getElementById('progress').textContent.includes('rest')")
    click(browser, "#noise-start")
    click(browser, "#focus-2")
    click(browser, "#targets button:nth-child(4)")
    wait(browser, f"{LABELS}.startsWith('3')")

    assert browser.evaluate(BEYOND) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert all(address.startswith(url) for address in requested(browser))
    assert complaints(browser) == []
    assert violations(browser) == []


def test_a_digit_is_drawn_with_the_keyboard(browser, url):
    browsing.visit(browser, url)
    wait(browser, LOADED)
    browser.evaluate("document.getElementById('draw').focus()")
    assert browser.evaluate("document.getElementById('draw').matches(':focus-visible')")
    press(browser, "Delete")
    press(browser, "ArrowUp", 9)
    press(browser, " ")
    assert text(browser, "#pen") == "Pen down"
    press(browser, "ArrowDown", 18)
    wait(browser, f"{LABELS} === '1 1 1 1'")
    press(browser, "Delete")
    wait(browser, "document.getElementById('said').textContent === 'The pad is empty'")
    assert complaints(browser) == []
