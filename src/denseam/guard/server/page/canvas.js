// A drawing in grey, made with pointer or keyboard or taken from a file, and the image made of it.

const DETAIL = 4; // cells of a drawing for each pixel of an image, in both directions
const BRUSH = 1.5; // radius, in pixels of an image of 28
const FILL = 20 / 28; // how much of an image MNIST's digits fill
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Drawing {
  constructor(canvas, say) {
    this.canvas = canvas;
    this.say = say;
    this.resize([28, 28]);
    canvas.addEventListener("pointerdown", (event) => this.#start(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.#paint());
    canvas.addEventListener("blur", () => this.#paint());
  }

  // For images of this height and width.
  resize([height, width]) {
    this.size = [DETAIL * height, DETAIL * width];
    this.canvas.height = Math.round((this.canvas.width * height) / width);
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.clear();
  }

  clear() {
    this.show(new Float32Array(this.size[0] * this.size[1]));
    this.cursor = this.size.map((n) => n / 2);
    this.down = false;
    this.#paint();
  }

  show(pixels) {
    this.pixels = pixels;
    this.#paint();
  }

  get empty() {
    return this.pixels.every((value) => value === 0);
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientY - box.top) / box.height) * this.size[0],
      ((event.clientX - box.left) / box.width) * this.size[1],
    ];
  }

  #start(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = this.#place(event);
    this.#line(this.cursor, this.cursor);
    this.#paint();
  }

  #move(event) {
    if (!event.buttons) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const place = this.#place(each);
      this.#line(this.cursor, place);
      this.cursor = place;
    }
    this.#paint();
  }

  #key(event) {
    if (event.key in STEPS) {
      const next = this.cursor.map((at, i) =>
        clamp(at + DETAIL * STEPS[event.key][i], 1, this.size[i] - 1));
      if (this.down) this.#line(this.cursor, next);
      this.cursor = next;
    } else if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.#line(this.cursor, this.cursor);
      this.say(this.down ? "Pen down" : "Pen lifted");
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
      this.say("Cleared");
    } else {
      return;
    }
    event.preventDefault();
    this.#paint();
  }

  // A stroke with a soft edge.
  #line([y0, x0], [y1, x1]) {
    const [height, width] = this.size;
    const radius = (BRUSH * width) / 28;
    const length = (y1 - y0) ** 2 + (x1 - x0) ** 2;
    const rows = [Math.min(y0, y1) - radius - 1, Math.max(y0, y1) + radius + 1];
    for (let y = clamp(Math.floor(rows[0]), 0, height); y < clamp(rows[1], 0, height); y++) {
      for (let x = 0; x < width; x++) {
        const [py, px] = [y + 0.5 - y0, x + 0.5 - x0];
        const along = length ? (py * (y1 - y0) + px * (x1 - x0)) / length : 0;
        const t = clamp(along, 0, 1);
        const distance = Math.hypot(py - t * (y1 - y0), px - t * (x1 - x0));
        const at = y * width + x;
        this.pixels[at] = Math.max(this.pixels[at], clamp(radius + 0.5 - distance, 0, 1));
      }
    }
  }

  #paint() {
    const [height, width] = this.size;
    const context = this.canvas.getContext("2d");
    const [tall, wide] = [this.canvas.height / height, this.canvas.width / width];
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.pixels.forEach((value, i) => {
      if (value === 0) return;
      const grey = Math.round(255 * value);
      context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
      context.fillRect((i % width) * wide, Math.floor(i / width) * tall, wide, tall);
    });
    if (document.activeElement !== this.canvas || !this.cursor) return;
    const [y, x] = this.cursor;
    context.strokeStyle = this.down ? "#ff9e3d" : "#8fc0ff";
    context.lineWidth = 2;
    context.strokeRect((x - 2) * wide, (y - 2) * tall, 4 * wide, 4 * tall);
  }
}

// The pixels of an image file for a drawing of this size: as large as fits, its background around it.
// What has to be centred anyway is cut out first, so that a small digit on a page is not lost.
export async function opened(file, [height, width], cut) {
  const bitmap = await createImageBitmap(file);
  const { width: w, height: h } = bitmap;
  const most = Math.min(1, 1024 / Math.max(w, h));
  const rough = [h, w].map((n) => Math.max(1, Math.round(n * most)));
  const { top, left, bottom, right } = ink(grey(bitmap, [0, 0, h, w], rough), rough);
  const part = cut && bottom >= 0
    ? [top, left, bottom + 1 - top, right + 1 - left].map((n) => n / most) : [0, 0, h, w];
  const scale = Math.min(height / part[2], width / part[3]);
  const size = [part[2], part[3]].map((n) => Math.max(1, Math.round(n * scale)));
  const found = new Float32Array(height * width);
  const pixels = grey(bitmap, part, size);
  found.fill(edge(grey(bitmap, [0, 0, h, w], rough), rough));
  const [down, along] = [(height - size[0]) >> 1, (width - size[1]) >> 1];
  for (let y = 0; y < size[0]; y++) {
    found.set(pixels.subarray(y * size[1], (y + 1) * size[1]), (y + down) * width + along);
  }
  return found;
}

// A part (top, left, height, width) of a bitmap, in grey and of another size.
function grey(bitmap, [top, left, height, width], [tall, wide]) {
  const context = new OffscreenCanvas(wide, tall).getContext("2d");
  context.fillStyle = "#fff"; // behind what is transparent
  context.fillRect(0, 0, wide, tall);
  context.imageSmoothingEnabled = !Number.isInteger(wide / width);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, top, width, height, 0, 0, wide, tall);
  const { data } = context.getImageData(0, 0, wide, tall);
  return Float32Array.from({ length: wide * tall }, (_, i) =>
    (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255);
}

// Where the ink is, bright on black: what differs from the background.
function ink(pixels, [height, width]) {
  const light = edge(pixels, [height, width]) > 0.5;
  const bright = light ? pixels.map((value) => 1 - value) : pixels;
  const most = bright.reduce((a, b) => Math.max(a, b), 0);
  let [top, left, bottom, right] = [height, width, -1, -1];
  bright.forEach((value, i) => {
    if (value <= 0.2 * most) return;
    const [y, x] = [Math.floor(i / width), i % width];
    [top, left] = [Math.min(top, y), Math.min(left, x)];
    [bottom, right] = [Math.max(bottom, y), Math.max(right, x)];
  });
  return { pixels: bright.map((value) => value / (most || 1)), top, left, bottom, right };
}

// A drawing as an image of this size, as it is.
export function plain({ pixels, size }, shape) {
  return shrunk(pixels, size, [0, 0], shape[0] / size[0], shape);
}

// A drawing as MNIST's digits are: the ink, bright on black, fills a box of 20 of 28 pixels, which is
// put, by whole pixels, where its centre of mass lies in the pixel behind the middle.
export function centred(drawing, [height, width]) {
  const { pixels, top, left, bottom, right } = ink(drawing.pixels, drawing.size);
  const found = new Float32Array(height * width);
  if (bottom < 0) return found;
  const box = [bottom + 1 - top, right + 1 - left];
  const scale = (FILL * Math.min(height, width)) / Math.max(...box);
  const size = box.map((n) => Math.ceil(n * scale - 1e-6));
  const small = shrunk(pixels, drawing.size, [top, left], scale, size);
  let [mass, cy, cx] = [0, 0, 0];
  small.forEach((value, i) => {
    mass += value;
    cy += value * (Math.floor(i / size[1]) + 0.5);
    cx += value * ((i % size[1]) + 0.5);
  });
  const [down, along] = [Math.ceil(height / 2 - cy / mass), Math.ceil(width / 2 - cx / mass)];
  small.forEach((value, i) => {
    const [y, x] = [Math.floor(i / size[1]) + down, (i % size[1]) + along];
    if (y >= 0 && x >= 0 && y < height && x < width) found[y * width + x] = value;
  });
  return found;
}

// The median along the border: the background.
function edge(pixels, [height, width]) {
  const found = [];
  for (let y = 0; y < height; y++) found.push(pixels[y * width], pixels[(y + 1) * width - 1]);
  for (let x = 0; x < width; x++) found.push(pixels[x], pixels[(height - 1) * width + x]);
  return found.sort((a, b) => a - b)[found.length >> 1];
}

// A part of an image in another size, black beyond it; each pixel the mean of what it covers.
function shrunk(pixels, [h, w], [top, left], scale, [height, width]) {
  const points = Math.max(4, Math.ceil(1 / scale));
  const found = new Float32Array(height * width);
  for (let i = 0; i < found.length; i++) {
    let sum = 0;
    for (let k = 0; k < points * points; k++) {
      const down = Math.floor(i / width) + (Math.floor(k / points) + 0.5) / points;
      const along = (i % width) + ((k % points) + 0.5) / points;
      const [y, x] = [Math.floor(down / scale + top), Math.floor(along / scale + left)];
      if (y < h && x < w) sum += pixels[y * w + x];
    }
    found[i] = sum / points ** 2;
  }
  return found;
}
