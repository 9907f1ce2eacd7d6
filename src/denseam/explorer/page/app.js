// The page: what is drawn goes to the worker, what it answers is shown; one look at a time.

import { DETAIL, Drawing } from "./canvas.js";
import { colour, cover, curve, element, grey, noise, picture } from "./view.js";

const NAMES = ["mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30"];
const POWERS = [1, 2, 3, 5, 10, 20, 30, 50, 100]; // those of the worker
const SIDE = 28;
const CLASSES = [...Array(10).keys()];
const PAUSE = { descend: 0, retrieve: 150 }; // milliseconds between steps: there are few of the latter
const LONGEST = 5000; // steps, as in the library
const SPOKEN = 600; // milliseconds of rest, after which labels are said

const $ = (id) => document.getElementById(id);
const percent = (x) => {
  if (x > 0 && x < 0.0005) return "< 0.1 %";
  return `${x > 0.0995 ? Math.round(100 * x) : (100 * x).toFixed(1)} %`;
};

// ---- the worker ---------------------------------------------------------------------------------

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let asked = 0;

function ask(action, options) {
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, action, options });
  });
}

worker.onmessage = ({ data: { id, answer, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error));
  else resolve(answer);
};
worker.onerror = () => { $("state").textContent = "The models could not be started."; };

// ---- what is on the pad -------------------------------------------------------------------------

let models = []; // n and K of each
let focus = 0;
let raw = false; // the pad holds a state as it is, not a drawing to be centred
let exact = null; // that state, until something is drawn on it
let covered = null; // which of its pixels are covered
let answer = null; // of the last look
let due = false;
let busy = false;
let motion = null;

const drawing = new Drawing($("draw"), (text) => { $("pen").textContent = text; }, touched);

function touched() {
  halt();
  exact = null;
  covered = null;
  request();
}

// Show a state (784) on the pad, every pixel as a square.
function put(state) {
  raw = true;
  const width = DETAIL * SIDE;
  drawing.show(Float32Array.from({ length: width * width }, (_, at) => {
    const place = Math.floor(at / width / DETAIL) * SIDE + Math.floor((at % width) / DETAIL);
    return (state[place] + 1) / 2;
  }));
  exact = state;
}

function clear() {
  raw = false;
  drawing.clear();
}

const options = () => ({
  focus, n: Number($("power").value), state: exact, pixels: drawing.pixels, size: drawing.size,
  detail: DETAIL, centre: !raw && $("centre").checked,
});

function request() {
  due = true;
  if (!busy && models.length) work();
}

// As often as the worker can, and never more than it can.
async function work() {
  busy = true;
  while (due || motion) {
    due = false;
    const [moving, sent] = [motion, options()];
    const answered = moving ? await ask(moving.action, { ...moving.options, ...sent, ...moving.carry })
      : await ask("look", sent);
    if (moving !== motion) continue;
    answer = answered;
    if (moving) advance(moving);
    show();
    await new Promise((done) => { setTimeout(done, PAUSE[motion?.action] ?? 0); });
    await new Promise((done) => { requestAnimationFrame(done); });
  }
  busy = false;
}

// ---- what moves ---------------------------------------------------------------------------------

function start(action, text, options, series) {
  if (!answer) return;
  begin = { state: exact ?? answer.state, covered };
  exact = begin.state;
  motion = { action, text, options, series, carry: {}, values: [], steps: 0 };
  record(motion, answer);
  $("halt").disabled = $("back").disabled = false;
  request();
}

let begin = null; // where the last way began

function record(moving, looked) {
  const change = looked.state.map((x, i) => x - begin.state[i]);
  const most = change.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const thumbs = { from: grey(begin.state), change: colour(change.map((x) => x / most)), now: grey(looked.state) };
  for (const [id, data] of Object.entries(thumbs)) $(id).getContext("2d").putImageData(data, 0, 0);
  $("thumbs").hidden = false;
  moving.values.push(moving.series.map(({ value }) => value(looked)));
}

function advance(moving) {
  moving.steps += 1;
  put(answer.state);
  record(moving, answer);
  if (moving.action === "retrieve") moving.carry = { whole: answer.whole, length: answer.length };
  const far = Math.hypot(...answer.state.map((x, i) => x - begin.state[i]));
  const ended = answer.ended ?? (moving.steps >= LONGEST || settled(moving) ? "still" : null);
  const saying = answer.models.map(({ label }, i) => `n = ${models[i].n} says ${label}`).join(", ");
  $("progress").textContent = ended
    ? `${ended === "crossed" ? "Across the boundary" : "It has come to rest"}, ${far.toFixed(1)} away (L2): ${saying}.`
    : `${moving.text}: ${far.toFixed(1)} away (L2)`;
  if (ended) halt();
  drawCurve(moving);
}

// Descents take steps of one length: at a minimum they go to and fro.
function settled(moving) {
  if (moving.action !== "descend" || moving.steps % 20) return false;
  const before = moving.anchor;
  moving.anchor = answer.state;
  return before && Math.hypot(...answer.state.map((x, i) => x - before[i])) < 0.1;
}

function halt() {
  if (!motion) return;
  motion = null;
  $("halt").disabled = true;
}

function back() {
  halt();
  put(begin.state);
  covered = begin.covered;
  $("progress").textContent = "Back at the start.";
  request();
}

function lead(target) {
  const from = answer.models[focus].label;
  const logOf = (label) => (looked) => looked.models[focus].logEnergies[label];
  const series = [{ name: `log energy of ${target}`, value: logOf(target) }];
  if (from !== target) series.unshift({ name: `log energy of ${from}`, value: logOf(from) });
  const stop = $("stop").checked && from !== target;
  start("descend", `Leading n = ${models[focus].n} to ${target}`, { target, stop }, series);
}

function remember() {
  const value = (looked) => looked.log ?? null;
  start("retrieve", `Remembering with n = ${$("power").value}`, { covered, length: 0.1 },
    [{ name: "log of minus the energy, which only rises", value }]);
}

function spoil(change) {
  if (!answer) return;
  halt();
  const { state, mask } = change(exact ?? answer.state);
  covered = mask ?? null;
  put(state);
  request();
}

// ---- what is shown ------------------------------------------------------------------------------

const cards = [];
let spoken = null;

function show() {
  $("seen").getContext("2d").putImageData(grey(answer.state), 0, 0);
  answer.models.forEach((looked, i) => cards[i].show(looked));
  showVotes(answer.votes);
  answer.byPower.forEach((label, i) => {
    const button = $("powers").children[i];
    button.lastChild.textContent = label ?? "–";
    button.setAttribute("aria-label", `n = ${POWERS[i]} says ${label ?? "nothing"}`);
    button.setAttribute("aria-pressed", POWERS[i] === Number($("power").value));
  });
  clearTimeout(spoken);
  spoken = setTimeout(say, SPOKEN);
}

function say() {
  const text = drawing.empty ? "The pad is empty"
    : answer.models.map(({ label }, i) => `n = ${models[i].n} says ${label}`).join(", ");
  if ($("said").textContent !== text) $("said").textContent = text;
}

function showVotes({ n, label, memories, half, logEnergies }) {
  const own = n === models[focus].n ? "" : `, asked with n = ${n}`;
  $("voting-title").textContent = `The memories that vote for ${label}`;
  $("voting-text").textContent = memories.length
    ? `Of n = ${models[focus].n}${own}: ${half} of ${models[focus].K} carry half of its energy. `
      + `Its logarithm is ${logEnergies[label].toFixed(2)}. Red pixels say “ink”, blue ones “no ink”.`
    : "No memory recognises anything in it.";
  $("memories").replaceChildren(...memories.map(({ share, votes, picture: pixels }) => {
    const to = votes.map((v, c) => [v, c]).filter(([v]) => v > 0).sort((a, b) => b[0] - a[0]).map(([, c]) => c);
    const says = to.length ? `for ${to.slice(0, 3).join(", ")}` : "for none";
    return element("li", {},
      picture(colour(pixels), `A memory ${says} with ${percent(share)} of the energy`),
      element("b", {}, percent(share)), ` ${says}`);
  }));
}

function drawCurve(moving) {
  const { paths, low, high } = curve(moving.values, 400, 130);
  $("curve").replaceChildren(...paths);
  $("curve").removeAttribute("hidden");
  const names = moving.series.map(({ name }) => name).join(" and ");
  $("curve").setAttribute("aria-label", `${names}, from ${low.toFixed(2)} to ${high.toFixed(2)}`);
  $("legend").replaceChildren(...moving.series.map(({ name }, i) =>
    element("span", { class: `key key-${i}` }, `${name} `)),
    element("span", {}, `between ${low.toFixed(2)} and ${high.toFixed(2)}`));
}

// A card of a model: its label, its activities, its lead.
class Card {
  constructor({ n }, index) {
    this.n = n;
    this.bars = CLASSES.map(() => element("i", {}));
    this.label = element("output", { class: "label" }, "–");
    this.chart = element("div", { class: "bars", role: "img", "aria-label": "No activities yet" },
      ...CLASSES.map((c) => element("span", {}, this.bars[c], element("small", {}, `${c}`))));
    this.facts = element("p", { class: "facts" });
    this.radio = element("input", { type: "radio", name: "focus", id: `focus-${n}`, onchange: () => choose(index) });
    this.radio.checked = index === focus;
    this.element = element("div", { class: `card hue-${index}` }, this.radio,
      element("label", { for: `focus-${n}` }, `n = ${n}`), this.label, this.chart, this.facts);
  }

  show({ label, rival, activities, logEnergies, half }) {
    const none = logEnergies[label] === -Infinity;
    this.label.textContent = none ? "–" : label;
    activities.forEach((y, c) => {
      this.bars[c].style.transform = `scaleY(${y})`;
      this.bars[c].parentElement.className = c === label && !none ? "best" : "";
    });
    this.chart.setAttribute("aria-label",
      `Activities: ${activities.reduce((all, y, c) => `${all}${c ? ", " : ""}${c} at ${y.toFixed(2)}`, "")}`);
    const ahead = 1 - Math.exp(logEnergies[rival] - logEnergies[label]);
    this.facts.textContent = none ? "no memory is active"
      : `${percent(ahead)} ahead of ${rival} · ${half} ${half === 1 ? "memory" : "memories"} make half`;
  }
}

function choose(index) {
  focus = index;
  $("power").value = models[focus].n;
  halt();
  named();
  request();
}

function named() {
  $("power-value").textContent = $("power").value;
  document.querySelectorAll(".focus").forEach((each) => { each.textContent = `n = ${models[focus].n}`; });
  $("voting").className = $("way").className = `hue-${focus}`;
}

// ---- the start ----------------------------------------------------------------------------------

async function begun() {
  const [loaded, digits] = await Promise.all([
    ask("load", { names: NAMES }),
    fetch("digits.u8").then((answered) => answered.arrayBuffer()),
  ]);
  const images = [...Array(digits.byteLength / SIDE ** 2).keys()].map((i) =>
    Float32Array.from(new Uint8Array(digits, i * SIDE ** 2, SIDE ** 2), (x) => x / 127.5 - 1));
  models = loaded;
  cards.push(...models.map((model, i) => new Card(model, i)));
  $("cards").replaceChildren(...cards.map((card) => card.element));
  $("examples").replaceChildren(...images.map((image, i) => element("button", {
    "aria-label": `A handwritten ${i % 10}`, onclick: () => spoil(() => ({ state: image })),
  }, picture(grey(image)))));
  $("targets").replaceChildren("to ", ...CLASSES.map((c) =>
    element("button", { "aria-label": `Lead it to ${c}`, onclick: () => lead(c) }, `${c}`)));
  $("powers").replaceChildren(...POWERS.map((n) => element("button", { onclick: () => slide(n) },
    element("small", {}, `${n}`), element("b", {}, "–"))));
  $("power").disabled = false;
  $("state").hidden = true;
  named();
  if (drawing.empty) put(images[2]);
  request();
}

function slide(n) {
  $("power").value = n;
  named();
  request();
}

$("power").addEventListener("input", () => slide($("power").value));
$("clear").addEventListener("click", clear);
$("draw").addEventListener("keydown", ({ key }) => { if (drawing.empty && key === "Delete") raw = false; });
$("centre").addEventListener("change", () => { if (!raw) request(); });
$("noise-start").addEventListener("click", () => spoil(() => ({ state: noise(new Float32Array(SIDE ** 2), 0.1) })));
$("noise").addEventListener("click", () => spoil((state) => ({ state: noise(state, 0.6) })));
$("retrieve").addEventListener("click", remember);
$("halt").addEventListener("click", () => { halt(); $("progress").textContent = "Stopped."; });
$("back").addEventListener("click", back);
for (const button of document.querySelectorAll("[data-cover]")) {
  button.addEventListener("click", () => spoil((state) => cover(state, button.dataset.cover, SIDE)));
}
begun().catch((error) => {
  $("state").hidden = false;
  $("state").textContent = `The page could not start: ${error.message}`;
});
