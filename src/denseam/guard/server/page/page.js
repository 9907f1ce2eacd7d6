// The page: draw, ask, review.

import { ApiError, ask, fromBase64, make, picture, useKey } from "./api.js";
import { DETAIL, Drawing } from "./canvas.js";

const REASONS = {
  low_confidence: "it looks like none of the images that the guard was calibrated with",
  no_active_memory: "no memory recognises anything in it",
  disagree: "accepted, but the memory would have given it another label",
  nonfinite: "it has pixels that are no numbers",
  out_of_range: "it has pixels outside of the range of images",
};
const PAGE = 24;

const $ = (id) => document.getElementById(id);
let opened = null; // the file that is shown, until something is drawn on it
const drawing = new Drawing($("draw"), (text) => { $("pen").textContent = text; },
  () => { opened = null; });
let model = null; // its metadata
let last = null; // the last item that is shown

const size = () => model.inputs[0].shape.slice(1);
const classes = () => model.parameters.guard.n_classes ?? 10;
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 2 : 1)} %`;

async function trying(where, what) {
  try {
    await what();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) {
      $("key-form").hidden = false;
      $("key").focus();
    }
    where.replaceChildren(make("p", { class: "label junk" }, "That did not work"),
      make("p", {}, error.message));
  }
}

async function check() {
  if (drawing.empty) {
    $("verdict").replaceChildren(make("p", { class: "nothing" }, "There is nothing drawn yet."));
    return;
  }
  const shape = size();
  $("go").disabled = true;
  $("votes").replaceChildren();
  await trying($("verdict"), async () => {
    const pixels = Array.from(await prepared(opened ?? await drawing.file()));
    const tensor = { name: "images", datatype: "UINT8", shape: [1, ...shape], data: pixels };
    const asked = { inputs: [tensor], parameters: { source: "page" } };
    const path = `v2/models/${encodeURIComponent(model.name)}`;
    const answer = await ask(`${path}/infer`, asked);
    const found = Object.fromEntries(answer.outputs.map(({ name, data }) => [name, data[0]]));
    showVerdict(found, pixels, shape);
    await showVotes(path, asked, found);
    if (found.quarantine_id) await reloadUntil(found.quarantine_id);
  });
  $("go").disabled = false;
}

function showVerdict(found, pixels, shape) {
  const { accepted, label, reason } = found;
  const said = accepted ? `${label}` : "Set aside";
  const why = REASONS[reason] ?? "detector and classifier agree";
  const facts = [
    `score ${found.score === null ? "infinite" : found.score.toPrecision(4)}`,
    `p-value ${found.p_value.toPrecision(3)}`,
    found.detector_label < 0 ? null : `the memory says ${found.detector_label}`,
    found.classifier_label < 0 ? "the classifier was not asked"
      : `the classifier says ${found.classifier_label}`,
  ];
  $("verdict").replaceChildren(
    make("div", { class: "outcome" },
      picture(pixels, shape, "What the guard saw"),
      make("div", {},
        make("p", { class: `label ${accepted ? "accepted" : "junk"}` }, said),
        make("p", {}, `${why[0].toUpperCase()}${why.slice(1)}.`),
        gauge(found),
        make("p", { class: "facts" }, facts.filter(Boolean).join(" · ")))));
}

// Where a score lies among those of clean images, from the most usual to beyond all of them: by its
// p-value, on a scale of powers of ten, with the threshold at the share that is to be set aside.
function gauge({ score, p_value: p }) {
  const { threshold, target_rejection: rate, n_calibration: count } = model.parameters.guard;
  const place = (share) => `${Math.min(100, Math.max(0, (100 * Math.log(share)) / -Math.log(count + 1)))}%`;
  const marker = make("i", { class: "marker" });
  const limit = make("i", { class: "limit" });
  [marker.style.left, limit.style.left] = [place(p), place(rate)];
  const text = `${percent(p)} of clean images score as high or higher. Below ${percent(rate)} an image is set aside:`
    + ` its score is beyond ${threshold.toPrecision(4)}.`;
  const said = score === null ? "The score is infinite." : text;
  return make("figure", { class: "gauge" },
    make("div", { class: "scale", role: "img", "aria-label": said }, limit, marker),
    make("div", { class: "ends", "aria-hidden": "true" }, make("span", {}, "usual"), make("span", {}, "strange")),
    make("figcaption", {}, said));
}

// The memories that speak for a label, that of the verdict first.
async function showVotes(path, asked, { label, detector_label: remembered }) {
  const said = label < 0 ? remembered : label;
  try {
    const found = await ask(`${path}/explain`, asked);
    const votes = found.votes.map((each) => ({
      ...each, memories: each.memories.filter(({ votes_for: classes }) => classes.includes(each.label)),
    })).sort((a, b) => (b.label === said) - (a.label === said));
    $("votes").replaceChildren(...votes.map((each) => votesOf(each, found.shape)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    $("votes").replaceChildren(make("p", { class: "note" }, error.message));
  }
}

function votesOf({ label, memories }, shape) {
  const entries = memories.map(({ image, share, votes_for: classes }) => make("li", {},
    picture(fromBase64(image), shape, `Memory with ${percent(share)} of the energy`),
    percent(share), make("br"), alone(classes, label)));
  return make("div", {}, make("h3", {}, `Memories that vote for ${label}`), entries.length
    ? make("ul", { class: "memories" }, ...entries)
    : make("p", { class: "note" }, `Of the memories that look most like it none votes for ${label}.`));
}

function alone(classes, label) {
  const others = classes.filter((c) => c !== label).slice(0, 2);
  return others.length ? `and for ${others.join(", ")}` : "and no other";
}

async function reload() {
  last = null;
  $("items").replaceChildren();
  await more();
}

// What was set aside a moment ago may still be on its way to the database.
async function reloadUntil(id) {
  for (let tries = 0; tries < 10; tries++) {
    await reload();
    if ($("which").value === "true" || document.getElementById(`item-${id}`)) return;
    await new Promise((done) => { setTimeout(done, 300); });
  }
}

async function more() {
  const query = new URLSearchParams({ limit: PAGE });
  if ($("which").value) query.set("labelled", $("which").value);
  if (last) query.set("before", last);
  await trying($("state"), async () => {
    const found = await ask(`quarantine?${query}`);
    $("items").append(...found.items.map(entry));
    last = found.items.at(-1)?.id ?? last;
    $("more").hidden = $("items").childElementCount >= found.total || found.items.length === 0;
    const waiting = found.waiting ? `, ${found.waiting} more on the way to the database` : "";
    $("state").textContent = `${found.total} ${found.total === 1 ? "item" : "items"}${waiting}`;
  });
}

function entry(item) {
  const time = new Date(item.received_at);
  const from = [item.source, item.address, item.key].filter(Boolean).join(" · ");
  const choices = [...Array(item.n_classes ?? classes()).keys()].map((c) => [c, `${c}`]);
  const buttons = [...choices, [-1, "junk"]].map(([label, text]) => make("button", {
    type: "button",
    "aria-pressed": item.label === label,
    "aria-label": label < 0 ? "It is junk" : `It is a ${text}`,
    onclick: () => setLabel(item, item.label === label ? null : label),
  }, text));
  return make("li", { id: `item-${item.id}` },
    picture(fromBase64(item.image), [item.height, item.width], `Item of ${time.toLocaleString()}`),
    make("div", {},
      make("p", {}, `${REASONS[item.reason][0].toUpperCase()}${REASONS[item.reason].slice(1)}.`),
      make("p", { class: "facts" },
        make("time", { datetime: item.received_at }, time.toLocaleString()),
        ` · ${from} · p-value ${item.p_value.toPrecision(3)}`),
      make("div", { class: "labels", role: "group", "aria-label": "What it is" }, ...buttons)));
}

async function setLabel(item, label) {
  await trying($("state"), async () => {
    const changed = await ask(`quarantine/${item.id}/label`, { label });
    const made = entry(changed);
    const old = document.getElementById(`item-${item.id}`);
    const index = [...old.querySelectorAll("button")].indexOf(document.activeElement);
    old.replaceWith(made);
    made.querySelectorAll("button")[index]?.focus();
    $("state").textContent = label === null ? "Label taken back"
      : `Labelled ${label < 0 ? "junk" : label}`;
  });
}

// The pixels that the server makes of a picture: by the code that checks files, too.
async function prepared(file, detail = 1) {
  const how = $("centre").checked ? "auto" : "false";
  const query = new URLSearchParams({ centre: how, invert: how, detail });
  const path = `v2/models/${encodeURIComponent(model.name)}/prepare?${query}`;
  return fromBase64((await ask(path, file)).image);
}

async function take(file) {
  if (!file) return;
  await trying($("verdict"), async () => {
    const pixels = await prepared(file, DETAIL);
    drawing.show(Float32Array.from(pixels, (value) => value / 255));
    opened = file;
    await check();
  });
}

async function start() {
  await trying($("verdict"), async () => {
    const names = await ask("v2");
    model = await ask(`v2/models/${encodeURIComponent(names.models[0])}`);
    drawing.resize(size());
    await reload();
  });
}

$("go").addEventListener("click", check);
$("clear").addEventListener("click", () => drawing.clear());
$("draw").addEventListener("keydown", (event) => { if (event.key === "Enter") check(); });
$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("which").addEventListener("change", reload);
$("reload").addEventListener("click", reload);
$("more").addEventListener("click", more);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value);
  $("key-form").hidden = true;
  $("verdict").replaceChildren(make("p", { class: "nothing" }, "No verdict yet."));
  start();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("draw").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
start();
