// A drawing as MNIST has its digits: denseam.fronts.centring, for light ink on black.
//
//   cells   the drawing in coarse squares
//   ink     what is a quarter of the brightest or more, without specks
//   window  the ink in squares of its own: its box, its mass, its level
//   result  one resampling of the drawing itself

const FILL = 20 / 28;
const CELLS = 64;
const FAINT = 0.2;
const NOISE = 5;
const NEIGHBOURS = 3; // of 9 cells; ink with fewer is a speck
const PEN = 1.8;
const LEAST = 0.01;

const sorted = (values) => Float64Array.from(values).sort();

// Cell i of an axis has its centre at start + (i + 1/2) / scale; its mean is over what it covers.
function weights(start, scale, cells, length) {
  const half = Math.max(1 / scale, 1) / 2;
  return Array.from({ length: cells }, (_, i) => {
    const at = start + (i + 0.5) / scale;
    if (at < 0 || at > length) return { first: 0, parts: [] };
    const first = Math.max(0, Math.floor(at - half));
    const parts = [];
    for (let p = first; p < Math.min(length, Math.ceil(at + half)); p++) {
      parts.push(Math.max(0, Math.min(at + half, p + 1) - Math.max(at - half, p)));
    }
    const sum = parts.reduce((a, b) => a + b, 0);
    return { first, parts: parts.map((part) => part / Math.max(sum, 1e-6)) };
  });
}

function resampled({ pixels, height, width }, view) {
  const rows = weights(view.top, view.scale, view.h, height);
  const columns = weights(view.left, view.scale, view.w, width);
  const between = new Float64Array(view.h * width);
  rows.forEach(({ first, parts }, y) => parts.forEach((part, j) => {
    for (let x = 0; x < width; x++) between[y * width + x] += part * pixels[(first + j) * width + x];
  }));
  const cells = new Float64Array(view.h * view.w);
  for (let y = 0; y < view.h; y++) {
    columns.forEach(({ first, parts }, x) => {
      let sum = 0;
      for (let j = 0; j < parts.length; j++) sum += parts[j] * between[y * width + first + j];
      cells[y * view.w + x] = sum;
    });
  }
  return cells;
}

// 1.4826 times the median magnitude: the deviation of most cells from their background.
const noise = (cells) => 1.4826 * sorted(cells.map(Math.abs))[(cells.length - 1) >> 1];
const most = (cells) => cells.reduce((a, b) => Math.max(a, b), -Infinity);

function inkOf(cells, { h, w }) {
  const top = most(cells);
  const least = Math.max(FAINT * top, Math.min(NOISE * noise(cells), top / 2));
  const ink = Uint8Array.from(cells, (x) => (x > least ? 1 : 0));
  const firm = ink.map((is, at) => {
    if (!is) return 0;
    const [y, x] = [Math.floor(at / w), at % w];
    let near = 0;
    for (let v = Math.max(0, y - 1); v <= Math.min(h - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(w - 1, x + 1); u++) near += ink[v * w + u];
    }
    return near >= NEIGHBOURS ? 1 : 0;
  });
  return firm.some(Boolean) ? firm : ink;
}

function boxOf(view, ink) {
  let [top, left, bottom, right] = [view.h, view.w, 0, 0];
  ink.forEach((is, at) => {
    if (!is) return;
    const [y, x] = [Math.floor(at / view.w), at % view.w];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
  });
  return {
    top: view.top + top / view.scale, bottom: view.top + bottom / view.scale,
    left: view.left + left / view.scale, right: view.left + right / view.scale,
  };
}

function penWidth(digit, side) {
  let [area, outline] = [0, 0];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const here = digit[y * side + x];
      area += here;
      if (y < side - 1 && x < side - 1) {
        outline += Math.hypot(digit[(y + 1) * side + x] - here, digit[y * side + x + 1] - here);
      }
    }
  }
  return (2 * Math.max(area, 1e-6)) / Math.max(outline, 1e-6);
}

// Pixels (height, width) in [0, 1] on black -> a state (side, side) in [-1, 1].
export function centred(pixels, height, width, side = 28) {
  const picture = { pixels: Float64Array.from(pixels, (x) => 2 * x), height, width };
  const scale = Math.min(1, CELLS / Math.max(height, width));
  const page = { top: 0, left: 0, scale, h: Math.ceil(scale * height), w: Math.ceil(scale * width) };
  const coarse = resampled(picture, page);
  const result = new Float32Array(side * side).fill(-1);
  if (most(coarse) <= Math.max(NOISE * noise(coarse), LEAST)) return result;
  const found = boxOf(page, inkOf(coarse, page));
  const length = Math.max(found.bottom - found.top, found.right - found.left);
  const window = {
    top: found.top - 0.1 * length, left: found.left - 0.1 * length,
    scale: CELLS / (1.2 * length), h: CELLS, w: CELLS,
  };
  const cells = resampled(picture, window);
  const ink = inkOf(cells, window);
  const levels = sorted(cells.filter((_, at) => ink[at]));
  const level = (levels[(levels.length - 1) >> 1] + levels[levels.length >> 1]) / 2;
  const box = boxOf(window, ink);
  let [mass, down, along] = [0, 0, 0];
  cells.forEach((value, at) => {
    if (!ink[at]) return;
    mass += value;
    down += value * (window.top + (Math.floor(at / CELLS) + 0.5) / window.scale);
    along += value * (window.left + ((at % CELLS) + 0.5) / window.scale);
  });
  const size = FILL * Math.min(side / (box.bottom - box.top), side / (box.right - box.left));
  // Whole pixels from the box to the edge of the result: its edges stay sharp, as MNIST's are.
  const above = Math.ceil(side / 2 - (down / mass - box.top) * size);
  const before = Math.ceil(side / 2 - (along / mass - box.left) * size);
  const digit = resampled(picture, {
    top: box.top - above / size, left: box.left - before / size, scale: size, h: side, w: side,
  }).map((x) => x / level);
  const gain = Math.min(Math.max((PEN * side) / 28 / penWidth(digit, side), 1), 2) ** 2;
  return result.map((_, i) => 2 * Math.min(Math.max(gain * digit[i], 0), 1) - 1);
}

// Pixels (detail side)^2 in [0, 1] -> a state (side, side) in [-1, 1], each the mean of its cells.
export function reduced(pixels, detail, side = 28) {
  const result = new Float32Array(side * side).fill(-1);
  const width = detail * side;
  pixels.forEach((value, at) => {
    const place = Math.floor(at / width / detail) * side + Math.floor((at % width) / detail);
    result[place] += (2 * value) / (detail * detail);
  });
  return result;
}
