// Where each lane stands, and what is beside what in it. Pure: lanes in, boxes out.

export const RULER_PX = 24;
const WAVE_PX = 50;
const SOUND = new Set(["caller", "agent"]); // as tall before their sound is there, so that nothing moves when it comes
const ROW_PX = 20;
const MOST_ROWS = 3;
const PAD_PX = 3;

/** Lanes as the service names them → { lanes: [{name, top, height, rows, spans, points, wave}], height }. */
export function layOut(lanes, waves) {
  let top = RULER_PX;
  const placed = lanes.map((lane) => {
    const wave = waves[lane.name] ?? null;
    const spans = pack(lane.spans ?? []);
    const rows = 1 + spans.reduce((most, span) => Math.max(most, span.row), 0);
    const height = (wave || SOUND.has(lane.name) ? WAVE_PX : rows * ROW_PX) + 2 * PAD_PX;
    const box = { name: lane.name, top, height, rows, rowPx: (height - 2 * PAD_PX) / rows, spans, points: lane.points ?? [], wave };
    top += height;
    return box;
  });
  return { lanes: placed, height: top };
}

/** Give overlapping spans rows of their own, as far as there are any. */
function pack(spans) {
  const free = [];
  return [...spans].sort((a, b) => a.from_ms - b.from_ms).map((span) => {
    const end = span.open ? Infinity : (span.to_ms ?? Infinity);
    let row = free.findIndex((until) => until <= span.from_ms + 0.5);
    if (row < 0) row = Math.min(free.length, MOST_ROWS - 1);
    free[row] = end;
    return { ...span, row };
  });
}

/** What is under a point: the span or point of a lane, or null. `nearMs` is how far a finger may be off. */
export function under(layout, y, ms, nearMs, endMs) {
  const lane = layout.lanes.find((one) => y >= one.top && y < one.top + one.height);
  if (!lane) return null;
  const near = lane.points.filter((point) => Math.abs(point.at_ms - ms) <= nearMs);
  near.sort((a, b) => Math.abs(a.at_ms - ms) - Math.abs(b.at_ms - ms));
  if (near.length) return { lane, item: near[0], fromMs: near[0].at_ms, toMs: null };
  const row = Math.floor((y - lane.top - PAD_PX) / lane.rowPx);
  const found = lane.spans.filter((span) => ms >= span.from_ms - nearMs && ms <= endOf(span, endMs) + nearMs);
  const span = found.find((one) => one.row === row) ?? found[0];
  return span ? { lane, item: span, fromMs: span.from_ms, toMs: endOf(span, endMs) } : null;
}

/** A span that is not over reaches to now. */
export function endOf(span, nowMs) {
  return span.open ? Math.max(nowMs, span.from_ms) : (span.to_ms ?? nowMs);
}

export { PAD_PX };
