// Pictures, elements and curves.

// An element with attributes and children; text is never read as HTML.
export function element(tag, attributes = {}, ...children) {
  const result = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) result.addEventListener(name.slice(2), value);
    else result.setAttribute(name, value);
  }
  result.append(...children);
  return result;
}

function image(state, paint) {
  const side = Math.sqrt(state.length);
  const result = new ImageData(side, side);
  state.forEach((value, i) => result.data.set([...paint(value), 255], 4 * i));
  return result;
}

// A state in [-1, 1]: black to white.
export const grey = (state) => image(state, (x) => Array(3).fill(127.5 * (x + 1)));

// A memory in [-1, 1]: blue, white, red.
const [BLUE, WHITE, RED] = [[33, 82, 160], [247, 247, 247], [190, 28, 46]];
const mix = (from, to, t) => from.map((x, i) => x + t * (to[i] - x));
export const colour = (memory) =>
  image(memory, (x) => mix(WHITE, x < 0 ? BLUE : RED, Math.abs(x) ** 0.7));

// A canvas with that picture; without a name it is decoration.
export function picture(data, name) {
  const facts = name ? { role: "img", "aria-label": name } : { "aria-hidden": "true" };
  const canvas = element("canvas", { width: data.width, height: data.height, ...facts });
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

// A state with normal noise of this deviation, in [-1, 1].
export function noise(state, deviation) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Float32Array.from(state, (x) => Math.min(1, Math.max(-1, x + deviation * normal())));
}

// A state with half of it at 0, and which half.
export function cover(state, how, side) {
  const hidden = {
    left: (y, x) => x < side / 2, right: (y, x) => x >= side / 2,
    top: (y) => y < side / 2, bottom: (y) => y >= side / 2,
  }[how];
  const mask = Uint8Array.from(state, (_, at) => (hidden(Math.floor(at / side), at % side) ? 1 : 0));
  return { state: state.map((x, at) => (mask[at] ? 0 : x)), mask };
}

// Rows of values, one of each series, as paths; null is a gap at the beginning.
export function curve(rows, width, height) {
  const finite = rows.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const place = (value, i) => {
    const x = (i / Math.max(1, rows.length - 1)) * width;
    return `${x.toFixed(1)},${(height - 6 - ((value - low) / (high - low || 1)) * (height - 12)).toFixed(1)}`;
  };
  const paths = (rows[0] ?? []).map((_, s) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const points = rows.map((row, i) => (Number.isFinite(row[s]) ? place(row[s], i) : "")).filter(Boolean);
    line.setAttribute("points", points.join(" "));
    line.setAttribute("class", `line line-${s}`);
    return line;
  });
  return { paths, low: finite.length ? low : 0, high: finite.length ? high : 0 };
}
