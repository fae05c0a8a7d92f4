// Which stretch of the call is on the screen, and where a moment stands in it. Pure.

const NARROWEST_MS = 200;
const STEPS_MS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000];

export class Scale {
  fromMs = 0;
  toMs = 1000;

  constructor() {
    Object.assign(this, { widthPx: 1, wholeMs: 1000 });
  }

  get spanMs() {
    return this.toMs - this.fromMs;
  }

  get isWhole() {
    return this.fromMs <= 0 && this.toMs >= this.wholeMs;
  }

  x(ms) {
    return ((ms - this.fromMs) / this.spanMs) * this.widthPx;
  }

  ms(x) {
    return this.fromMs + (x / this.widthPx) * this.spanMs;
  }

  all() {
    this.show(0, this.wholeMs);
  }

  /** Show this stretch, or the nearest that there is. */
  show(fromMs, toMs) {
    const span = Math.min(Math.max(toMs - fromMs, NARROWEST_MS), Math.max(this.wholeMs, NARROWEST_MS));
    const middle = (fromMs + toMs) / 2;
    const from = Math.max(0, Math.min(middle - span / 2, this.wholeMs - span));
    this.fromMs = from;
    this.toMs = from + span;
  }

  /** `factor` above 1 shows less time; the moment `atMs` stays where it is. */
  zoom(factor, atMs = (this.fromMs + this.toMs) / 2) {
    const share = (atMs - this.fromMs) / this.spanMs;
    const span = Math.min(Math.max(this.spanMs / factor, NARROWEST_MS), Math.max(this.wholeMs, NARROWEST_MS));
    this.show(atMs - share * span, atMs + (1 - share) * span);
  }

  pan(ms) {
    this.show(this.fromMs + ms, this.toMs + ms);
  }

  /** Bring a moment into view, with a page turn rather than a crawl. */
  reveal(ms) {
    if (ms < this.fromMs || ms > this.toMs) this.show(ms - this.spanMs * 0.1, ms + this.spanMs * 0.9);
  }

  /** Round moments for the ruler, at least `apartPx` from each other. */
  ticks(apartPx = 90) {
    const wanted = (apartPx / this.widthPx) * this.spanMs;
    const step = STEPS_MS.find((one) => one >= wanted) ?? STEPS_MS.at(-1);
    const found = [];
    for (let at = Math.ceil(this.fromMs / step) * step; at <= this.toMs; at += step) found.push(at);
    return { step, found };
  }
}
