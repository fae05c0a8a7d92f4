// Another sample rate, by a windowed sinc: what lies above half of the lower rate is filtered out, not folded down.

const CROSSINGS = 12; // of the sinc to each side: more is a steeper edge and more delay
const STEPS = 64; // of the table between two taps; between them a straight line
const CUTOFF = 0.92; // of half of the lower rate: the edge needs a place to fall

/** Takes blocks of samples at one rate and gives them at another; remembers what it needs from block to block. */
export class Resampler {
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz;
    const width = CUTOFF * Math.min(1, toHz / fromHz); // of the filter, in cycles of half the input's rate
    this.half = Math.ceil(CROSSINGS / width);
    this.table = new Float32Array(this.half * STEPS + 2);
    for (let i = 0; i < this.half * STEPS; i++) this.table[i] = tap(i / STEPS, width, this.half);
    this.kept = new Float32Array(2 * this.half); // silence before the first sample
    this.at = this.half; // of the next output sample, in `kept` and what comes after it
  }

  /** Float32Array → Float32Array: as many samples as are due. */
  take(block) {
    const input = new Float32Array(this.kept.length + block.length);
    input.set(this.kept);
    input.set(block, this.kept.length);
    const count = Math.max(0, Math.ceil((input.length - this.half - this.at) / this.step));
    const output = new Float32Array(count);
    for (let n = 0; n < count; n++, this.at += this.step) output[n] = this.#sample(input);
    const from = Math.max(0, Math.min(input.length, Math.floor(this.at) - this.half));
    this.kept = input.slice(from);
    this.at -= from;
    return output;
  }

  #sample(input) {
    const first = Math.floor(this.at) - this.half + 1;
    let sum = 0;
    for (let i = Math.max(0, first); i < first + 2 * this.half && i < input.length; i++) {
      const place = Math.abs(i - this.at) * STEPS;
      const low = Math.floor(place);
      sum += input[i] * (this.table[low] + (this.table[low + 1] - this.table[low]) * (place - low));
    }
    return sum;
  }
}

function tap(x, width, half) {
  const sinc = x === 0 ? 1 : Math.sin(Math.PI * width * x) / (Math.PI * width * x);
  const r = x / half;
  return width * sinc * (0.42 + 0.5 * Math.cos(Math.PI * r) + 0.08 * Math.cos(2 * Math.PI * r)); // Blackman's window
}
