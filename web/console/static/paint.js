// The timeline on a canvas: ruler, lanes, sound. A thousand spans are painted in a few milliseconds.

import { duration } from "./format.js";
import { endOf, PAD_PX, RULER_PX } from "./layout.js";
import { colour } from "./theme.js";

const NAMES = ["text", "soft", "line", "raised", "surface", "connecting", "listening", "speaking", "interrupted", "tool_pending",
  "transferring", "ended", "held", "dropped", "bad"];
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

/** What a lane looks like when its spans say no more. */
const LANE = { caller: "listening", agent: "speaking", held: "held", dropped: "dropped", transcript: "connecting", tools: "tool_pending",
  lines: "ended", webhooks: "connecting", phases: "ended", operator: "transferring" };
const KIND = [[/fail|error|lost/, "dropped"], [/^(tool|running|ok)$/, "tool_pending"],
  [/caller|voice/, "listening"], [/agent/, "speaking"], [/line|operator/, "transferring"]];

/** The colours of the theme of now; read once a change, not once a frame. */
export function palette() {
  return Object.fromEntries(NAMES.map((name) => [name, colour(name)]));
}

export function toneOf(lane, item) {
  if (lane.name === "phases") return item.kind in PHASE_TONES ? item.kind : "ended";
  if (lane.name === "held" || lane.name === "dropped") return item.kind === "dropped" ? "dropped" : lane.name;
  const hint = item.who || (item.kind ?? "").toLowerCase();
  const found = KIND.find(([pattern]) => pattern.test(hint));
  return found ? found[1] : (LANE[lane.name.toLowerCase().split(/[ _]/)[0]] ?? "ended");
}

const PHASE_TONES = { connecting: 1, listening: 1, speaking: 1, interrupted: 1, tool_pending: 1, transferring: 1, ended: 1 };

export function paint(canvas, scale, layout, colours, nowMs) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [scale.widthPx, layout.height];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  paintGrid(pen, scale, layout, colours);
  for (const lane of layout.lanes) {
    if (lane.wave) paintSpansFaint(pen, scale, lane, colours, nowMs);
    if (lane.wave) paintWave(pen, scale, lane, colours);
    else paintSpans(pen, scale, lane, colours, nowMs);
    paintPoints(pen, scale, lane, colours);
  }
}

/** Words beside a point, where there is room before the next one. */
function paintWords(pen, scale, lane, colours, n, x) {
  const next = lane.points[n + 1];
  const room = (next ? Math.min(scale.x(next.at_ms), scale.widthPx + 400) : scale.widthPx) - x - 16;
  write(pen, lane.points[n].text, x + 8, lane.top + lane.height / 2 + 0.5, room, colours.text);
}

function paintGrid(pen, scale, layout, colours) {
  const { step, found } = scale.ticks();
  pen.fillStyle = colours.line;
  for (const lane of layout.lanes) pen.fillRect(0, lane.top, scale.widthPx, 1);
  for (const at of found) {
    const x = Math.round(scale.x(at));
    pen.fillStyle = colours.line;
    pen.fillRect(x, RULER_PX - 6, 1, layout.height - RULER_PX + 6);
    pen.fillStyle = colours.soft;
    pen.fillText(step < 1000 ? `${duration(at)}.${String(at % 1000).padStart(3, "0").replace(/0+$/, "") || "0"}` : duration(at), x + 4, 11);
  }
}

function visible(scale, fromMs, toMs) {
  return toMs >= scale.fromMs && fromMs <= scale.toMs;
}

function box(scale, span, nowMs) {
  const x = Math.max(-4, scale.x(span.from_ms));
  const to = Math.min(scale.widthPx + 4, scale.x(endOf(span, nowMs)));
  return [x, Math.max(to - x, 2)];
}

function paintSpansFaint(pen, scale, lane, colours, nowMs) {
  for (const span of lane.spans) {
    if (!visible(scale, span.from_ms, endOf(span, nowMs))) continue;
    const [x, width] = box(scale, span, nowMs);
    pen.fillStyle = colours[toneOf(lane, span)];
    pen.globalAlpha = 0.13;
    pen.fillRect(x, lane.top + 1, width, lane.height - 1);
    pen.globalAlpha = 1;
    pen.fillRect(x, lane.top + lane.height - 2, width, 2);
    if (span.kind === "cut") paintCut(pen, x + width, lane.top + 1, lane.height - 1, colours);
  }
}

function paintSpans(pen, scale, lane, colours, nowMs) {
  for (const span of lane.spans) {
    if (!visible(scale, span.from_ms, endOf(span, nowMs))) continue;
    const [x, width] = box(scale, span, nowMs);
    const y = lane.top + PAD_PX + span.row * lane.rowPx;
    const height = lane.rowPx - 2;
    pen.fillStyle = colours[toneOf(lane, span)];
    pen.globalAlpha = 0.2;
    rounded(pen, x, y, width, height);
    pen.globalAlpha = 1;
    pen.fillRect(x, y, Math.min(2.5, width), height);
    if (span.kind === "cut") paintCut(pen, x + width, y, height, colours);
    if (width > 26 && span.text) write(pen, span.text.replaceAll("_", " "), Math.max(x, 0) + 6, y + height / 2 + 0.5, width + Math.min(x, 0) - 10, colours.text);
  }
}

/** Where the caller cut in. */
function paintCut(pen, x, y, height, colours) {
  pen.fillStyle = colours.dropped;
  pen.fillRect(x - 2, y, 2, height);
}

function rounded(pen, x, y, width, height) {
  if (width < 6) {
    pen.fillRect(x, y, width, height);
    return;
  }
  pen.beginPath();
  pen.roundRect(x, y, width, height, 3);
  pen.fill();
}

const widths = new Map();

function write(pen, text, x, y, room, ink) {
  if (room < 14) return;
  const key = text.length > 60 ? text.slice(0, 200) : text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 4000) widths.clear();
    widths.set(key, (width = pen.measureText(key).width));
  }
  pen.fillStyle = ink;
  if (width <= room) {
    pen.fillText(key, x, y);
    return;
  }
  const fits = Math.floor((key.length * room * 0.94) / width) - 1;
  if (fits > 1) pen.fillText(`${key.slice(0, fits).trimEnd()}…`, x, y);
}

function paintPoints(pen, scale, lane, colours) {
  const middle = lane.top + lane.height / 2;
  let last = -9;
  for (const [n, point] of lane.points.entries()) {
    const x = scale.x(point.at_ms);
    const spoken = lane.name === "transcript" && point.text;
    if (x > scale.widthPx + 4 || x < (spoken ? -600 : -4)) continue;
    if (spoken) paintWords(pen, scale, lane, colours, n, x);
    if (x - last < 1) continue; // as good as the same pixel
    last = x;
    pen.fillStyle = colours[toneOf(lane, point)];
    pen.beginPath();
    pen.moveTo(x, middle - 5);
    pen.lineTo(x + 4, middle);
    pen.lineTo(x, middle + 5);
    pen.lineTo(x - 4, middle);
    pen.fill();
  }
}

function paintWave(pen, scale, lane, colours) {
  const { peaks, fromMs, toMs } = lane.wave;
  const perMs = peaks.length / Math.max(1, toMs - fromMs);
  const middle = lane.top + lane.height / 2;
  const reach = lane.height / 2 - 4;
  pen.fillStyle = colours[LANE[lane.name.split(/[ _]/)[0]] ?? "soft"];
  const [first, last] = [Math.max(0, Math.floor(scale.x(fromMs))), Math.min(scale.widthPx, Math.ceil(scale.x(toMs)))];
  for (let x = first; x < last; x++) {
    const from = Math.max(0, Math.floor((scale.ms(x) - fromMs) * perMs));
    const to = Math.min(peaks.length, Math.max(from + 1, Math.floor((scale.ms(x + 1) - fromMs) * perMs)));
    let peak = 0;
    for (let i = from; i < to; i++) if (peaks[i] > peak) peak = peaks[i];
    const tall = Math.max(0.5, Math.sqrt(peak) * reach); // the root, so that a whisper is seen too
    pen.fillRect(x, middle - tall, 1, 2 * tall);
  }
}
