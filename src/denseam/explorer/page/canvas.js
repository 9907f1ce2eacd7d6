// A drawing in grey, made with pointer or keyboard or taken from a file.

export const DETAIL = 4; // cells of a drawing for each pixel of an image, in both directions
const BRUSH = 1.5; // radius, in pixels of an image of 28
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Drawing {
  // What is said in words goes to say; changed is called when something is drawn.
  constructor(canvas, say, changed) {
    this.canvas = canvas;
    this.say = say;
    this.changed = changed;
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
    this.changed();
    this.show(new Float32Array(this.size[0] * this.size[1]));
    this.cursor = this.size.map((n) => n / 2);
    this.down = false;
    this.#paint();
  }

  show(pixels) {
    this.pixels = pixels;
    this.#paint();
  }

  // The drawing as the file of a picture.
  async file() {
    const canvas = new OffscreenCanvas(this.size[1], this.size[0]);
    canvas.getContext("2d").putImageData(this.#image(), 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
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
    this.changed();
    const [height, width] = this.size;
    const radius = (BRUSH * width) / 28;
    const length = (y1 - y0) ** 2 + (x1 - x0) ** 2;
    const reach = (a, b, n) => [
      clamp(Math.floor(Math.min(a, b) - radius - 1), 0, n),
      clamp(Math.ceil(Math.max(a, b) + radius + 1), 0, n),
    ];
    const [rows, columns] = [reach(y0, y1, height), reach(x0, x1, width)];
    for (let y = rows[0]; y < rows[1]; y++) {
      for (let x = columns[0]; x < columns[1]; x++) {
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
    this.cells ??= new OffscreenCanvas(width, height);
    if (this.cells.width !== width || this.cells.height !== height) {
      Object.assign(this.cells, { width, height });
    }
    this.cells.getContext("2d").putImageData(this.#image(), 0, 0);
    const context = this.canvas.getContext("2d");
    const [tall, wide] = [this.canvas.height / height, this.canvas.width / width];
    context.imageSmoothingEnabled = false;
    context.drawImage(this.cells, 0, 0, this.canvas.width, this.canvas.height);
    if (document.activeElement !== this.canvas || !this.cursor) return;
    const [y, x] = this.cursor;
    context.strokeStyle = this.down ? "#ff9e3d" : "#8fc0ff";
    context.lineWidth = 2;
    context.strokeRect((x - 2) * wide, (y - 2) * tall, 4 * wide, 4 * tall);
  }

  #image() {
    const image = new ImageData(this.size[1], this.size[0]);
    const greys = new Uint32Array(image.data.buffer); // little-endian: alpha, blue, green, red
    this.pixels.forEach((value, i) => {
      greys[i] = (0xff000000 | (Math.round(255 * value) * 0x10101)) >>> 0;
    });
    return image;
  }
}
