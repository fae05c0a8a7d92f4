// How numbers, times and names read. Pure.

/** 31484 → "0:31"; 3731484 → "1:02:11". */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor((ms ?? 0) / 1000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A moment in a call, to the millisecond: 14802 → "0:14.802". */
export function moment(ms) {
  const at = Math.max(0, Math.round(ms ?? 0));
  return `${duration(at)}.${String(at % 1000).padStart(3, "0")}`;
}

/** 42.53 → "43 ms"; 2140 → "2.1 s"; nothing → "–". */
export function milliseconds(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (Math.abs(ms) >= 10_000) return `${Math.round(ms / 1000)} s`;
  return Math.abs(ms) >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Unix seconds, milliseconds or an ISO text → Date. */
export function asDate(value) {
  if (typeof value === "number") return new Date(value < 1e11 ? value * 1000 : value);
  return new Date(value ?? NaN);
}

/** The time of day, with the day before it when it is not today. */
export function clock(value, now = new Date()) {
  const date = asDate(value);
  if (Number.isNaN(date.getTime())) return "–";
  const time = CLOCK.format(date);
  return date.toDateString() === now.toDateString() ? time : `${DAY.format(date)}, ${time}`;
}

const NAMES = { lines: "engine" };

/** A phase's or an outcome's name for people. */
export function words(name) {
  return NAMES[name] ?? String(name ?? "").replaceAll("_", " ").replaceAll("-", " ");
}

/** `UtteranceStarted` → `utterance started`. */
export function spaced(name) {
  return String(name).replace(/([a-z])([A-Z])/g, (_, a, b) => `${a} ${b.toLowerCase()}`).replace(/^[A-Z]/, (c) => c.toLowerCase());
}

/** Whether an outcome is a good one: decides the colour, never the text. */
export function outcomeKind(outcome) {
  if (!outcome) return null;
  return /complet|transfer|hung|ok|success/i.test(outcome) ? "good" : /fail|lost|error|crash|unfinished|abort/i.test(outcome) ? "bad" : null;
}

/** `1 call`, `2 calls`. */
export function counted(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}
