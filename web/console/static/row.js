// One call in the list: made once, then only what changed is touched.

import { h, setAttribute, setText } from "./dom.js";
import { asDate, clock, duration, milliseconds, outcomeKind, words } from "./format.js";

const SLOW_MS = 1500; // an answer that callers notice as late

export class Row {
  constructor(call) {
    const cell = (name, ...children) => h("span", { class: name }, ...children);
    this.chip = h("span", { class: "chip" });
    this.from = cell("who num");
    this.agent = cell("agent soft");
    this.time = cell("num right");
    this.latency = cell("num right");
    this.cuts = cell("num right cuts");
    this.tools = cell("num right toolcount");
    this.who = h("b");
    this.text = h("span");
    this.words = cell("words", this.who, this.text);
    this.reason = cell("reason soft");
    this.end = cell("end num");
    this.link = h("a", { class: "row", href: `/calls/${encodeURIComponent(call.id)}` },
      h("span", {}, this.chip), this.from, this.agent, this.time, this.latency, this.cuts, this.tools, this.words, this.reason, this.end);
    this.element = h("li", {}, this.link);
    this.set(call);
  }

  set(call) {
    this.call = call;
    const live = call.state === "live";
    const kind = live ? null : outcomeKind(call.outcome);
    setText(this.chip, words(live ? call.phase : call.outcome || call.state));
    setAttribute(this.chip, "data-phase", live ? call.phase : null);
    setAttribute(this.chip, "data-outcome", kind);
    setAttribute(this.chip, "data-live", live);
    setText(this.from, (call.direction === "outbound" ? call.to : call.from) || "unknown");
    setText(this.agent, call.agent || "");
    const latencyMs = call.latency_ms?.turn_p50 ?? null;
    setText(this.latency, latencyMs === null ? "" : milliseconds(latencyMs));
    setAttribute(this.latency, "title", "Median answer latency: from the end of the caller's voice to the agent's first sound");
    this.latency.classList.toggle("slow", latencyMs > SLOW_MS);
    setText(this.cuts, call.interruptions ? String(call.interruptions) : "");
    setAttribute(this.cuts, "title", call.interruptions ? "Interruptions" : null);
    setText(this.tools, call.tools ? String(call.tools) : "");
    this.tools.classList.toggle("failed", call.tools_failed > 0);
    setAttribute(this.tools, "title", call.tools ? `Tools used${call.tools_failed ? `; failed: ${call.tools_failed}` : ""}` : null);
    const last = call.last_words;
    setText(this.who, last ? (last.who === "line" ? "us" : last.who) : "");
    setText(this.text, last ? last.text : "");
    setAttribute(this.words, "data-who", last ? last.who : null);
    setText(this.end, `${call.marked ? "★ " : ""}${clock(call.began_at)}`);
    setText(this.reason, live ? "" : words(call.reason));
    setAttribute(this.reason, "title", call.reason || null);
    this.beganMs = live ? (call.began_ms ?? asDate(call.began_at).getTime()) : NaN;
    this.tick(Date.now());
  }

  /** Let the length of a live call grow; `now` is the service's time. */
  tick(now) {
    const ms = Number.isNaN(this.beganMs) ? this.call.duration_ms : now - this.beganMs;
    setText(this.time, duration(ms));
  }

  matches(query) {
    if (!query) return true;
    const { id, from, to, agent, phase, last_words: last } = this.call;
    return [id, from, to, agent, phase, last?.text].some((text) => text?.toLowerCase().includes(query));
  }
}
