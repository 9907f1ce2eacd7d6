// Questions to the server, with the key where it asks for one.

const KEY = "denseam-guard-key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const useKey = (key) => sessionStorage.setItem(KEY, key);

// A body is sent as JSON, a Blob as the bytes that it has.
export async function ask(path, body) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = { headers, cache: "no-store" };
  if (body !== undefined) {
    const file = body instanceof Blob;
    headers["content-type"] = file ? "application/octet-stream" : "application/json";
    Object.assign(options, { method: "POST", body: file ? body : JSON.stringify(body) });
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ApiError(0, "the server does not answer");
  }
  const found = await answer.json().catch(() => ({ error: "no JSON came back" }));
  if (!answer.ok) throw new ApiError(answer.status, found.error);
  return found;
}

// An element with attributes and children; text is never read as HTML.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

// A canvas that shows grey pixels 0..255, row by row.
export function picture(pixels, [height, width], name) {
  const canvas = make("canvas", { width, height, role: "img", "aria-label": name });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    image.data.fill(pixels[i], 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
