// The timeline: lanes with zoom and one cursor. Its position is a slider, so that it works without a mouse and says where it is.

import { h, perFrame, setText } from "./dom.js";
import { milliseconds, moment, words } from "./format.js";
import { layOut, RULER_PX, under } from "./layout.js";
import { paint, palette } from "./paint.js";
import { Scale } from "./scale.js";

const LIVE_WINDOW_MS = 30_000;
const LIVE_PAINT_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 100;
const FINGER_PX = 5;
const DRAG_PX = 4;

export class Timeline {
  scale = new Scale();
  cursorMs = null;
  following = false;
  #lanes = [];
  #waves = {};
  #layout = { lanes: [], height: RULER_PX };
  #fingers = new Map();
  #dragged = false;
  #now = null;
  #timer = 0;

  /** @param onSeek (ms) => void: the reader wants to be at that moment. */
  constructor(onSeek) {
    this.onSeek = onSeek;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.cursor = h("div", { class: "tl-cursor", hidden: true });
    this.hover = h("div", { class: "tl-hover", hidden: true });
    this.labels = h("ul", { class: "tl-labels", "aria-hidden": "true" });
    this.view = h("div", { class: "tl-view", tabindex: "0", role: "slider", "aria-label": "Position in the call", "aria-valuemin": "0",
      "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "at the start" }, this.canvas, this.cursor, this.hover);
    this.element = h("div", { class: "timeline" }, this.labels, this.view);
    this.draw = perFrame(() => this.#draw());
    this.#listen();
    this.sizes = new ResizeObserver(() => this.#resized());
    this.sizes.observe(this.view);
    this.repaint();
  }

  stop() {
    this.sizes.disconnect();
    clearInterval(this.#timer);
  }

  /** Colours changed. */
  repaint() {
    this.colours = palette();
    this.draw();
  }

  /** New lanes: what is on the screen stays where it is. */
  setLanes({ lanes, duration_ms: wholeMs }) {
    const first = !this.#lanes.length;
    const wasWhole = this.scale.isWhole;
    this.#lanes = lanes;
    this.#setWhole(wholeMs);
    if (!this.#now && (first || wasWhole)) this.scale.all();
    this.#lay();
  }

  /** The sound behind its lanes. `waves`: lane name → {peaks, fromMs, toMs}. */
  setWaves(waves) {
    this.#waves = waves;
    this.#lay();
  }

  /** A live call: `now` tells how old it is; the view follows until the reader moves it. null: it is over. */
  setLive(now) {
    clearInterval(this.#timer);
    this.#now = now;
    this.following = Boolean(now);
    if (now) this.#timer = setInterval(() => document.hidden || this.#follow(), LIVE_PAINT_MS);
    this.draw();
  }

  setCursor(ms, { reveal = false } = {}) {
    this.cursorMs = ms;
    if (reveal && ms !== null) {
      const before = this.scale.fromMs;
      this.scale.reveal(ms);
      if (this.scale.fromMs !== before) this.draw();
    }
    this.#placeCursor();
  }

  zoom(factor, atMs = this.cursorMs ?? undefined) {
    const inside = atMs !== undefined && atMs >= this.scale.fromMs && atMs <= this.scale.toMs;
    this.following &&= factor < 1 || !this.#now;
    this.scale.zoom(factor, inside ? atMs : undefined);
    this.draw();
  }

  fit() {
    this.following = false;
    this.scale.all();
    this.draw();
  }

  followNow() {
    this.following = true;
    this.#follow();
  }

  key(event) {
    const step = event.shiftKey ? 100 : 1000;
    const at = this.cursorMs ?? 0;
    const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: this.scale.wholeMs };
    if (event.key in moves) this.#seek(moves[event.key], true);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-" || event.key === "_") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else return false;
    return true;
  }

  #follow() {
    this.#setWhole(Math.max(this.scale.wholeMs, this.#now()));
    if (this.following) {
      const to = this.scale.wholeMs;
      this.scale.show(Math.max(0, to - LIVE_WINDOW_MS), Math.max(to, Math.min(LIVE_WINDOW_MS, to)));
    }
    this.draw();
  }

  #setWhole(ms) {
    this.scale.wholeMs = Math.max(ms, 1000);
    this.view.setAttribute("aria-valuemax", String(Math.round(this.scale.wholeMs)));
  }

  #lay() {
    this.#layout = layOut(this.#lanes, this.#waves);
    const key = this.#layout.lanes.map((lane) => `${lane.name}/${lane.height}`).join();
    if (key !== this.labels.dataset.key) {
      this.labels.dataset.key = key;
      this.labels.replaceChildren(...this.#layout.lanes.map((lane) => {
        const label = h("li", {}, words(lane.name));
        label.style.height = `${lane.height}px`;
        return label;
      }));
    }
    this.draw();
  }

  #resized() {
    this.scale.widthPx = Math.max(1, this.view.clientWidth);
    this.draw();
  }

  #draw() {
    paint(this.canvas, this.scale, this.#layout, this.colours, this.#now ? this.#now() : this.scale.wholeMs);
    this.#placeCursor();
  }

  #placeCursor() {
    const at = this.#now && this.following ? this.scale.wholeMs : this.cursorMs;
    const seen = at !== null && at >= this.scale.fromMs && at <= this.scale.toMs;
    this.cursor.hidden = !seen;
    if (!seen) return;
    this.cursor.style.transform = `translateX(${this.scale.x(at).toFixed(1)}px)`;
    this.view.setAttribute("aria-valuenow", String(Math.round(at)));
    this.view.setAttribute("aria-valuetext", moment(at));
  }

  #seek(ms, reveal = false) {
    const at = Math.max(0, Math.min(ms, this.scale.wholeMs));
    if (this.#now) this.following = false;
    this.setCursor(at, { reveal });
    this.onSeek(at);
  }

  #listen() {
    const { view } = this;
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    view.addEventListener("pointerup", (event) => this.#up(event));
    view.addEventListener("pointercancel", (event) => this.#fingers.delete(event.pointerId));
    view.addEventListener("pointerleave", () => (this.hover.hidden = true));
    view.addEventListener("dblclick", (event) => this.zoom(2, this.scale.ms(this.#x(event))));
  }

  #x(event) {
    return event.clientX - this.view.getBoundingClientRect().left;
  }

  /** With Ctrl (a pinch on a pad too), or once the timeline has the focus, the wheel zooms; otherwise the page scrolls on. */
  #wheel(event) {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    const zooms = event.ctrlKey || event.metaKey || document.activeElement === this.view;
    if (!sideways && !zooms) return;
    event.preventDefault();
    if (sideways) {
      this.following = false;
      this.scale.pan(((event.deltaX || event.deltaY) / this.scale.widthPx) * this.scale.spanMs);
      this.draw();
    } else this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.scale.ms(this.#x(event)));
  }

  #down(event) {
    if (event.button) return;
    this.view.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, this.#x(event));
    this.#dragged = false;
    this.pressedAt = this.#x(event);
  }

  #move(event) {
    const x = this.#x(event);
    if (!this.#fingers.has(event.pointerId)) {
      if (event.pointerType === "mouse") this.#tell(event, x);
      return;
    }
    const before = this.#fingers.get(event.pointerId);
    if (this.#fingers.size === 2) this.#pinch(event.pointerId, before, x);
    else if (this.#dragged || Math.abs(x - this.pressedAt) > DRAG_PX) {
      this.#dragged = true;
      this.following = false;
      this.hover.hidden = true;
      this.scale.pan(((before - x) / this.scale.widthPx) * this.scale.spanMs);
      this.draw();
    } else return;
    this.#fingers.set(event.pointerId, x);
  }

  #pinch(id, before, x) {
    const other = [...this.#fingers].find(([finger]) => finger !== id)[1];
    const factor = Math.max(8, Math.abs(x - other)) / Math.max(8, Math.abs(before - other));
    this.#dragged = true;
    this.zoom(factor, this.scale.ms((x + other) / 2));
  }

  #up(event) {
    if (!this.#fingers.delete(event.pointerId) || this.#dragged) return;
    this.#seek(this.scale.ms(this.#x(event)));
    this.#tell(event, this.#x(event));
  }

  #tell(event, x) {
    const ms = this.scale.ms(x);
    const y = event.clientY - this.view.getBoundingClientRect().top;
    const found = under(this.#layout, y, ms, (FINGER_PX / this.scale.widthPx) * this.scale.spanMs, this.scale.wholeMs);
    this.hover.hidden = !found;
    if (!found) return;
    const { item, fromMs, toMs, lane } = found;
    const length = toMs === null ? "" : ` · ${milliseconds(toMs - fromMs)}`;
    setText(this.hover, `${moment(fromMs)}${length}\n${words(item.text || item.kind || lane.name)}`);
    this.hover.style.left = `${Math.min(Math.max(0, x + 12), Math.max(0, this.scale.widthPx - 300))}px`;
    this.hover.style.top = `${y + 18}px`;
  }
}
