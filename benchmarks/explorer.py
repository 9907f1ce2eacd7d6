"""Time the explorer in headless Chromium: looks, a step, and frames while a digit is drawn.

Run it by `python -m benchmarks.explorer`; times are in milliseconds.
"""

import json
import tempfile
import threading
from pathlib import Path

from tests import browsing
from tests.study import chromium

from denseam.explorer import server

LOOKS = """(async () => {
  const [{Memory}, {centred}] = await Promise.all([import('./memory.js'), import('./centring.js')]);
  const file = await (await fetch('models/mnist-n30.safetensors')).arrayBuffer();
  const digits = new Uint8Array(await (await fetch('digits.u8')).arrayBuffer());
  const [memory, digit] = [Memory.fromFile(file),
    Float32Array.from(digits.subarray(2 * 784, 3 * 784), x => x / 127.5 - 1)];
  const grey = digit.map(() => 2 * Math.random() - 1);
  const drawing = Float32Array.from({length: 112 ** 2}, (_, i) =>
    digits[3 * 784 + 28 * Math.floor(i / 448) + Math.floor(i % 112 / 4)] / 255);
  const times = (what) => {
    const all = [];
    for (let i = 0; i < 30; i++) {
      const begun = performance.now();
      what();
      all.push(performance.now() - begun);
    }
    all.sort((a, b) => a - b);
    return {least: all[0], median: all[15]};
  };
  const worker = new Worker('worker.js', {type: 'module'});
  const ask = (action, options) => new Promise(done => {
    worker.onmessage = ({data}) => done(data.answer);
    worker.postMessage({id: 0, action, options});
  });
  await ask('load', {names: ['mnist-n2', 'mnist-n3', 'mnist-n20', 'mnist-n30']});
  const whole = [];
  for (let i = 0; i < 30; i++) {
    const options = {pixels: drawing, size: [112, 112], detail: 4, centre: true, focus: 0, n: 2};
    whole.push((await ask('look', options)).milliseconds);
  }
  whole.sort((a, b) => a - b);
  return {
    'everything that is shown of a drawing, four models': {least: whole[0], median: whole[15]},
    'look at a digit': times(() => memory.look(digit)),
    'look at 784 grey pixels': times(() => memory.look(grey)),
    'step of a descent': times(() => memory.descend(grey, 3)),
    'centring of a drawing': times(() => centred(drawing, 112, 112)),
  };
})()"""

# Strokes as fast as frames come; how far frames are apart, and how many answers came.
DRAWING = """new Promise(done => {
  const pad = document.getElementById('draw'), box = pad.getBoundingClientRect();
  const send = (kind, buttons, t) => {
    const place = {clientX: box.left + box.width * (0.5 + 0.3 * Math.cos(t)),
      clientY: box.top + box.height * (0.5 + 0.35 * Math.sin(2 * t))};
    const event = new PointerEvent(kind, {pointerId: 1, isPrimary: true, buttons, ...place});
    event.getCoalescedEvents = () => [event];
    pad.dispatchEvent(event);
  };
  pad.setPointerCapture = () => {};
  document.getElementById('clear').click();
  send('pointerdown', 1, 0);
  const gaps = [];
  let answers = 0;
  const shown = new MutationObserver(() => { answers++; });
  shown.observe(document.getElementById('memories'), {childList: true});
  let last = performance.now();
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    send('pointermove', 1, gaps.length / 30);
    if (gaps.length < 300) requestAnimationFrame(frame);
    else {
      gaps.sort((a, b) => a - b);
      done({'median gap of frames': gaps[150], 'gap of the slowest twentieth': gaps[285], answers});
    }
  };
  requestAnimationFrame(frame);
})"""


def main() -> None:
    """Measure, and print milliseconds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(0) as serving,
        chromium.running(chromium.find() or "chromium", Path(folder)) as browser,
    ):
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        browsing.visit(browser, f"http://127.0.0.1:{serving.server_port}/")
        browsing.wait(browser, "document.querySelectorAll('#memories li').length === 9")
        print(json.dumps(browser.evaluate(LOOKS), indent=2))
        print(json.dumps(browser.evaluate(DRAWING), indent=2))
        serving.shutdown()


if __name__ == "__main__":
    main()
