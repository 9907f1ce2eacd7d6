// The energies of a dense associative memory, and what follows from them: denseam.energy in float64.
//
//   off_k    = sum_i xi_ki v_i - sum_c xi_kc      the field of memory k with all class neurons at -1
//   on_kc    = off_k + 2 xi_kc                    and with neuron c at +1
//   S_c      = sum_k F(on_kc),  F(x) = x^n for x > 0, else 0
//   gap_c    = (S_c - sum_k F(off_k)) / F(T),     Y_c = tanh(gap_c)
//
// Powers are taken of fields divided by the largest one, so that nothing overflows at any n.

const LOG2 = Math.log(2);
const softplus = (x) => (x > 30 ? x : Math.log1p(Math.exp(x)));
const clamp = (x) => (x < -1 ? -1 : x > 1 ? 1 : x);

// x^n for x >= 0, by repeated squaring where n is whole.
export function power(x, n) {
  if (n % 1) return x ** n;
  let result = 1;
  for (let bits = n, base = x; bits > 0; bits >>= 1, base *= base) if (bits & 1) result *= base;
  return result;
}

export const argmax = (values) => values.reduce((best, v, i) => (v > values[best] ? i : best), 0);

// The best of the other classes.
export const runnerUp = (values, label) =>
  values.reduce((best, v, i) => (i !== label && (best < 0 || v > values[best]) ? i : best), -1);

// float16 as float32, by a table of all of its values.
let halves = null;
function fromHalf(words) {
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  });
  const result = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) result[i] = halves[words[i]];
  return result;
}

export class Memory {
  // A model file of the library: a safetensors file with one matrix "memories" (K, N + C).
  static fromFile(buffer) {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    const { shape, data_offsets: [start, end] } = header.memories;
    const words = new Uint16Array(buffer.slice(8 + length + start, 8 + length + end));
    const facts = JSON.parse(header.__metadata__.denseam);
    return new Memory(fromHalf(words), shape, facts);
  }

  constructor(rows, [K, width], { power: n, temperature, n_visible: N }) {
    Object.assign(this, { rows, K, N, C: width - N, width, n, temperature });
    this.votes = new Float64Array(K * this.C); // xi_kc
    this.sums = new Float64Array(K); // over pixels: the overlap with an empty image is minus this
    this.off0 = new Float64Array(K); // minus the sum over classes
    for (let k = 0; k < K; k++) {
      for (let i = 0; i < N; i++) this.sums[k] += rows[k * width + i];
      for (let c = 0; c < this.C; c++) {
        this.votes[k * this.C + c] = rows[k * width + N + c];
        this.off0[k] -= rows[k * width + N + c];
      }
    }
  }

  picture(k) {
    return this.rows.slice(k * this.width, k * this.width + this.N);
  }

  // off (K): only pixels that are not empty, -1, cost anything.
  fields(state) {
    const { rows, K, N, width, sums, off0 } = this;
    const places = new Int32Array(N);
    const ink = new Float64Array(N);
    let count = 0;
    for (let i = 0; i < N; i++) {
      if (state[i] === -1) continue;
      places[count] = i;
      ink[count++] = state[i] + 1;
    }
    const off = new Float64Array(K);
    for (let k = 0; k < K; k++) {
      const start = k * width;
      let [a, b] = [off0[k] - sums[k], 0];
      let j = 0;
      for (; j + 1 < count; j += 2) {
        a += rows[start + places[j]] * ink[j];
        b += rows[start + places[j + 1]] * ink[j + 1];
      }
      if (j < count) a += rows[start + places[j]] * ink[j];
      off[k] = a + b;
    }
    return off;
  }

  // log S_c of the classes, and of all class neurons off at the end, (C + 1): -Infinity for none.
  logEnergies(off, n = this.n) {
    const { K, C, votes } = this;
    const tops = new Float64Array(C + 1);
    for (let k = 0; k < K; k++) {
      for (let c = 0; c < C; c++) tops[c] = Math.max(tops[c], off[k] + 2 * votes[k * C + c]);
      tops[C] = Math.max(tops[C], off[k]);
    }
    const totals = new Float64Array(C + 1);
    for (let k = 0; k < K; k++) {
      for (let c = 0; c <= C; c++) {
        const field = c < C ? off[k] + 2 * votes[k * C + c] : off[k];
        if (field > 0) totals[c] += power(field / tops[c], n);
      }
    }
    return totals.map((total, c) => (total > 0 ? n * Math.log(tops[c]) + Math.log(total) : -Infinity));
  }

  gaps(logs, n = this.n) {
    const unit = n * Math.log(this.temperature);
    const off = Math.exp(logs[this.C] - unit);
    return logs.slice(0, this.C).map((log) => Math.exp(log - unit) - off);
  }

  // Label, activities Y and log-energies of an image.
  look(state, n = this.n) {
    const off = this.fields(state);
    const logs = this.logEnergies(off, n);
    const activities = this.gaps(logs, n).map(Math.tanh);
    const logEnergies = logs.slice(0, this.C);
    return { n, off, label: argmax(logEnergies), activities, logEnergies, logs };
  }

  // The memories that make the energy of a class, the largest first, and how many make half of it.
  shares(off, label, count, n = this.n) {
    const { K, C, votes } = this;
    const fields = off.map((x, k) => Math.max(0, x + 2 * votes[k * C + label]));
    const top = fields.reduce((a, b) => Math.max(a, b), 0);
    const shares = fields.map((x) => power(x / top, n));
    const total = shares.reduce((a, b) => a + b, 0);
    const order = Array.from(shares.keys()).sort((a, b) => shares[b] - shares[a]);
    let half = 0;
    for (let sum = 0; sum < total / 2; half++) sum += shares[order[half]];
    const memories = order.slice(0, count).filter((k) => shares[k] > 0).map((k) => ({
      position: k,
      share: shares[k] / total,
      votes: Array.from(votes.subarray(k * C, (k + 1) * C)),
      picture: this.picture(k),
    }));
    return { memories, half };
  }

  // sum_k weights_k xi_k over the visible part.
  #pull(weights, width = this.N) {
    const { rows, K } = this;
    const result = new Float64Array(width);
    for (let k = 0; k < K; k++) {
      const w = weights[k];
      const start = k * this.width;
      if (w === 0) continue;
      for (let i = 0; i < width; i++) result[i] += w * rows[start + i];
    }
    return result;
  }

  // The direction of steepest ascent of C_alpha, of length 1; null where there is none.
  #ascent(looked, target) {
    const { K, C, votes, n } = this;
    const { off, logs } = looked;
    const m = n >= 10 ? 30 : 4;
    const sizes = this.gaps(logs).map((gap, c) => {
      const distance = LOG2 - softplus(c === target ? 2 * gap : -2 * gap);
      const slope = 2 * (LOG2 - Math.abs(gap) - softplus(-2 * Math.abs(gap)));
      return (2 * m - 1) * distance + slope;
    });
    const largest = Math.max(...sizes);
    const up = sizes.map((size, c) => (c === target ? -1 : 1) * Math.exp(size - largest));
    const every = up.reduce((a, b) => a + b, 0);
    let top = 0;
    for (let k = 0; k < K; k++) {
      for (let c = 0; c < C; c++) top = Math.max(top, off[k] + 2 * votes[k * C + c]);
    }
    if (top === 0) return null;
    const slope = (field) => (field > 0 ? power(field / top, n - 1) : 0);
    const weights = new Float64Array(K);
    for (let k = 0; k < K; k++) {
      let sum = -every * slope(off[k]);
      for (let c = 0; c < C; c++) sum += up[c] * slope(off[k] + 2 * votes[k * C + c]);
      weights[k] = sum;
    }
    const direction = this.#pull(weights);
    const size = Math.hypot(...direction);
    return size > 0 ? direction.map((x) => x / size) : null;
  }

  // One step of Eq. 3.2 towards a class; null where no gradient is left.
  descend(state, target, step = 0.1) {
    const up = this.#ascent(this.look(state), target);
    return up && Float32Array.from(state, (x, i) => clamp(x - step * up[i]));
  }

  // log of -E of a whole state (N + C), with its fields.
  #energy(whole, n) {
    const { K, width, rows } = this;
    const fields = new Float64Array(K);
    let top = 0;
    for (let k = 0; k < K; k++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += rows[k * width + i] * whole[i];
      fields[k] = sum;
      top = Math.max(top, sum);
    }
    if (top === 0) return { log: -Infinity, top, fields };
    const total = fields.reduce((a, x) => (x > 0 ? a + power(x / top, n) : a), 0);
    return { log: n * Math.log(top) + Math.log(total), top, fields };
  }

  // One step of retrieval in the box, as denseam.retrieval.dynamics takes it: the whole state (N + C)
  // downhill where it is free, by a step that is halved until the energy does not rise.
  retrieve(whole, free, length, n = this.n) {
    const { log, top, fields } = this.#energy(whole, n);
    if (top === 0) return { whole, length, log, moved: 0 };
    const slopes = fields.map((x) => (x > 0 ? power(x / top, n - 1) : 0));
    const pull = this.#pull(slopes, this.width).map((p, i) =>
      (!free[i] || (Math.abs(whole[i]) >= 1 && whole[i] * p > 0) ? 0 : p));
    const size = pull.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    if (size === 0) return { whole, length, log, moved: 0 };
    for (let tries = 0; tries < 40; tries++) {
      const next = Float32Array.from(whole, (x, i) => clamp(x + (length * pull[i]) / size));
      const after = this.#energy(next, n).log;
      if (after >= log) {
        const moved = next.reduce((most, x, i) => Math.max(most, Math.abs(x - whole[i])), 0);
        return { whole: next, length: Math.min(2 * length, 2), log: after, moved };
      }
      length /= 2;
    }
    return { whole, length: 0.1, log, moved: 0 };
  }
}
