// All arithmetic, away from the page: models, looks, and steps of what moves.

import { centred, reduced } from "./centring.js";
import { Memory, argmax, runnerUp } from "./memory.js";

export const POWERS = [1, 2, 3, 5, 10, 20, 30, 50, 100];
const SHOWN = 9; // memories that vote
let memories = [];

async function load({ names }) {
  memories = await Promise.all(names.map(async (name) => {
    const answer = await fetch(`models/${name}.safetensors`);
    if (!answer.ok) throw new Error(`models/${name}.safetensors: ${answer.status}`);
    return Memory.fromFile(await answer.arrayBuffer());
  }));
  return memories.map(({ n, K }) => ({ n, K }));
}

// The state of a drawing, or one that is given, through the eyes of all memories.
function look({ state, pixels, size, detail, centre, focus, n }) {
  const begun = performance.now();
  const seen = state ?? (centre ? centred(pixels, ...size) : reduced(pixels, detail));
  const models = memories.map((memory) => {
    const { off, logs, ...looked } = memory.look(seen);
    return { ...looked, off, rival: runnerUp(looked.logEnergies, looked.label) };
  });
  const [memory, { off }] = [memories[focus], models[focus]];
  const byPower = POWERS.map((each) => {
    const logs = memory.logEnergies(off, each).slice(0, memory.C);
    return logs.some(Number.isFinite) ? argmax(logs) : null;
  });
  const logs = memory.logEnergies(off, n).slice(0, memory.C);
  const label = argmax(logs);
  const votes = { n, label, logEnergies: logs, ...memory.shares(off, label, SHOWN, n) };
  models.forEach((each, i) => {
    each.half = memories[i].shares(each.off, each.label, 0).half;
    delete each.off;
  });
  return { state: seen, models, votes, byPower, milliseconds: performance.now() - begun };
}

// A step towards a class; it ends where nothing pulls, or at the first image of that class.
function descend({ state, focus, target, stop, ...rest }) {
  const next = memories[focus].descend(state, target);
  const looked = look({ ...rest, state: next ?? state, focus });
  const crossed = stop && looked.models[focus].label === target;
  return { ended: next ? (crossed ? "crossed" : null) : "still", ...looked };
}

// One step of retrieval. The state is whole: pixels, then class neurons, which begin at -1.
function retrieve({ state, whole, covered, length, focus, n, ...rest }) {
  const memory = memories[focus];
  const begin = whole ?? Float32Array.from({ length: memory.width }, (_, i) => state[i] ?? -1);
  const free = Uint8Array.from(begin, (_, i) => (!covered || i >= memory.N || covered[i] ? 1 : 0));
  const step = memory.retrieve(begin, free, length, n);
  const moved = look({ ...rest, state: step.whole.slice(0, memory.N), focus, n });
  return { ...step, ended: step.moved <= 1e-5 ? "still" : null, ...moved };
}

const ACTIONS = { load, look, descend, retrieve };

self.onmessage = async ({ data: { id, action, options } }) => {
  try {
    self.postMessage({ id, answer: await ACTIONS[action](options) });
  } catch (error) {
    self.postMessage({ id, error: error.message });
  }
};
