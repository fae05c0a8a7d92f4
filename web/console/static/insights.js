// What the finished calls have in common. The filters stand in the address; the sums come from the service.

import { figure, heatmap, histogram, lines, stackedBars, table } from "./charts.js";
import { card, emptyState, h, settle, svg } from "./dom.js";
import { readFilters, listAddress } from "./filters.js";
import { counted, duration, milliseconds, words } from "./format.js";

const RANGES = [["1", "24 hours"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["all", "All time"]];
const FAULTS = ["nobody", "caller", "agent", "vapi", "twilio", "tool", "us", "unknown"];
const FAULT_NAMES = { nobody: "Nobody", caller: "Caller", agent: "Agent", vapi: "Vapi", twilio: "Twilio", tool: "Tool", us: "Us", unknown: "Unknown" };
const WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MOST_SERIES = 7;
const SLOW_MS = 1500;
const AGAIN_MS = 60_000;
const HOURS = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAYS = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const money = (usd) => (usd === null || usd === undefined ? "–" : `$${usd >= 100 ? usd.toFixed(0) : usd >= 1 ? usd.toFixed(2) : usd.toFixed(3)}`);
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(part && part / whole < 0.1 ? 1 : 0)} %` : "–");

export function showInsights(root, context) {
  return new InsightsView(root, context);
}

class InsightsView {
  #asked = 0;
  #figures = [];

  constructor(root, context) {
    this.context = context;
    const address = new URLSearchParams(location.search);
    this.filters = readFilters(address);
    this.range = RANGES.some(([key]) => key === address.get("range")) ? address.get("range") : this.filters.since || this.filters.until ? "custom" : "7";
    this.by = address.get("by") === "outcome" ? "outcome" : "fault";
    document.title = "Insights · Callscope";
    this.content = h("div", { class: "insights-cards" });
    this.typed = settle(() => this.#changed(), 350);
    root.replaceChildren(h("div", { class: "page insights" }, this.#bar(), this.content));
    this.timer = setInterval(() => document.visibilityState === "visible" && this.#load(), AGAIN_MS);
    void this.#load();
  }

  stop() {
    clearInterval(this.timer);
    this.typed.stop();
    this.#asked = Infinity;
    this.#forget();
  }

  key() {
    return false;
  }

  #bar() {
    const picks = (name, label, options) => {
      const select = h("select", { "aria-label": label, onchange: () => this.#changed() }, options.map(([value, text]) => h("option", { value }, text)));
      this[name] = select;
      return select;
    };
    const range = picks("rangeBox", "Time", this.range === "custom" ? [...RANGES, ["custom", "Chosen time"]] : RANGES);
    range.value = this.range;
    picks("agentBox", "Agent", [["", "All agents"]]);
    picks("faultBox", "Whose fault", [["", "Any fault"], ...FAULTS.map((one) => [one, `Fault: ${FAULT_NAMES[one].toLowerCase()}`])]);
    picks("outcomeBox", "Outcome", [["", "Any outcome"]]);
    picks("markedBox", "Marked", [["", "Marked or not"], ["true", "Marked"], ["false", "Not marked"]]);
    this.callerBox = h("input", { type: "search", placeholder: "Caller begins with…", "aria-label": "Caller's masked number begins with", maxlength: 20, value: this.filters.caller ?? "", oninput: () => this.typed.ask() });
    this.faultBox.value = this.filters.fault ?? "";
    this.markedBox.value = this.filters.marked ?? "";
    this.csv = h("a", { class: "button", download: true, href: "/api/insights.csv" }, "Sums CSV");
    this.callsCsv = h("a", { class: "button", download: true, href: "/api/calls.csv" }, "Calls CSV");
    return h("div", { class: "tools" }, h("h1", {}, "Insights"), range, this.agentBox, this.faultBox, this.outcomeBox, this.markedBox, this.callerBox,
      h("span", { class: "spring" }), this.csv, this.callsCsv);
  }

  #changed() {
    const before = this.range;
    this.range = this.rangeBox.value;
    const chosen = { agent: this.agentBox.value, fault: this.faultBox.value, outcome: this.outcomeBox.value, marked: this.markedBox.value, caller: this.callerBox.value.trim(), reason: this.filters.reason };
    if (this.range === "custom" && before === "custom") Object.assign(chosen, { since: this.filters.since, until: this.filters.until });
    this.filters = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
    void this.#load();
  }

  #remember() {
    const kept = new URLSearchParams(this.filters);
    if (this.range !== "7" && this.range !== "custom") kept.set("range", this.range);
    if (this.by !== "fault") kept.set("by", this.by);
    history.replaceState(null, "", kept.size ? `/insights?${kept}` : "/insights");
  }

  /** What the service is asked for: a range of days becomes a moment, on the hour so that pages share answers. */
  #query() {
    const asked = { ...this.filters };
    if (this.range !== "custom" && this.range !== "all") {
      const days = Number(this.range);
      const now = new Date();
      const from = days === 1 ? Math.floor(now / HOUR_MS) * HOUR_MS - 23 * HOUR_MS : new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1).getTime();
      asked.since = String(from);
      asked.until = String((Math.floor(now / HOUR_MS) + 1) * HOUR_MS);
    }
    return asked;
  }

  async #load() {
    const asked = ++this.#asked;
    const query = this.#query();
    this.asked = query;
    const address = new URLSearchParams({ ...query, offset_min: -new Date().getTimezoneOffset() });
    this.#remember();
    this.csv.href = `/api/insights.csv?${address}`;
    this.callsCsv.href = `/api/calls.csv?${new URLSearchParams(query)}`;
    try {
      const data = await this.context.api.get(`/api/insights?${address}`);
      if (asked !== this.#asked) return;
      this.data = data;
      this.#show();
    } catch (error) {
      if (asked !== this.#asked || error.status === 401) return;
      this.#forget();
      this.content.replaceChildren(emptyState(error.title ?? "The insights could not be read", error.detail ?? String(error), h("button", { type: "button", onclick: () => this.#load() }, "Try again")));
    }
  }

  #forget() {
    for (const one of this.#figures.splice(0)) one.stop();
  }

  #options(box, first, values, chosen, name = (value) => value) {
    const all = chosen && !values.includes(chosen) ? [...values, chosen] : values;
    box.replaceChildren(h("option", { value: "" }, first), ...all.map((value) => h("option", { value }, name(value))));
    box.value = chosen ?? "";
  }

  #show() {
    const data = this.data;
    this.#options(this.agentBox, "All agents", data.agents, this.filters.agent);
    this.#options(this.outcomeBox, "Any outcome", [...new Set(data.outcomes.map((one) => one.outcome))], this.filters.outcome, words);
    this.#forget();
    if (!data.calls) {
      const filtered = Object.keys(this.filters).length || this.range !== "all";
      this.content.replaceChildren(emptyState("No finished call here", filtered ? "Choose a longer time, or fewer filters." : "Phone the agent; what happened is added up here."));
      return;
    }
    this.content.replaceChildren(this.#numbers(data),
      h("div", { class: "wide" }, this.#volume(data)),
      h("div", { class: "pair" }, this.#outcomes(data), this.#week(data)),
      h("div", { class: "pair" }, this.#latency(data), this.#latencyOverTime(data)),
      h("div", { class: "pair" },
        h("div", { class: "column" }, this.#interruptions(data), this.#tools(data)),
        h("div", { class: "column" }, this.#silence(data), this.#reasons(data))));
  }

  #figure(title, given, { note = null, tools = [], after = null, id = null } = {}) {
    const made = figure(given);
    this.#figures.push(made);
    return card(title, h("div", { class: "body" }, made.element, after), { id, note, tools: [...tools, made.button] });
  }

  #list(more) {
    return listAddress({ ...this.asked, ...more });
  }

  #numbers(data) {
    const faults = new Map();
    for (const one of data.outcomes) faults.set(one.fault, (faults.get(one.fault) ?? 0) + one.calls);
    const ours = data.calls - (faults.get("nobody") ?? 0) - (faults.get("caller") ?? 0);
    const one = (name, value, note, warn = false) => h("div", { class: "kpi" }, h("dt", {}, name), h("dd", { class: warn ? "num slow" : "num" }, value), h("dd", { class: "soft num" }, note));
    const { interruptions, turns, owed, costs } = data;
    return h("dl", { class: "kpis" },
      one("Calls", data.calls.toLocaleString(), `${duration(data.talk_ms)} talked`),
      one("Ended by a fault", percent(ours, data.calls), `${counted(ours, "call")}, callers' own not counted`, ours / data.calls > 0.1),
      one("Answer, median", milliseconds(turns.p50), `95 % within ${milliseconds(turns.p95)}`, turns.p50 > SLOW_MS),
      one("Silent when cut in", milliseconds(interruptions.silent.p50), `95 % within ${milliseconds(interruptions.silent.p95)}`),
      one("Longest silence, p95", milliseconds(owed.p95), `worst ${milliseconds(owed.longest)}`, owed.p95 > 4000),
      one("Cost a call", money(costs.per_call_usd), costs.per_call_usd === null ? "no report of Vapi's yet" : `${money(costs.usd)} in all, ${money(costs.per_minute_usd)} a minute`));
  }

  #slotName(slot) {
    const at = new Date(slot.at_ms);
    const { step_ms } = this.data;
    if (step_ms <= HOUR_MS) return HOURS.format(at);
    return step_ms <= DAY_MS ? DAYS.format(at) : `Week of ${SHORT.format(at)}`;
  }

  #slotTick(slot) {
    const at = new Date(slot.at_ms);
    if (this.data.step_ms > HOUR_MS) return SHORT.format(at);
    return at.getHours() === 0 ? SHORT.format(at) : at.getHours() % 3 === 0 ? `${at.getHours()}:00` : "";
  }

  #slotHref(slot) {
    const { since, until } = this.asked;
    const end = slot.at_ms + this.data.step_ms;
    const from = since ? Math.max(Number(since) || Date.parse(since), slot.at_ms) : slot.at_ms;
    const to = until ? Math.min(Number(until) || Date.parse(until), end) : end;
    return this.#list({ since: String(from), until: String(to) });
  }

  /** The names that get a colour of their own, the most frequent first; the rest is one. */
  #series() {
    if (this.by === "fault") return FAULTS.filter((one) => this.data.slots.some((slot) => slot.faults[one]));
    return [...new Set(this.data.outcomes.map((one) => one.outcome))];
  }

  #volume(data) {
    const names = this.#series();
    const tones = new Map(names.map((name, index) => [name, this.by === "fault" ? name : String(Math.min(index, MOST_SERIES))]));
    const values = (slot) => (this.by === "fault" ? slot.faults : slot.outcomes);
    const bars = data.slots.map((slot) => {
      const parts = names.filter((name) => values(slot)[name]);
      const told = parts.map((name) => `${this.#name(name)} ${values(slot)[name]}`).join(", ");
      return { tick: this.#slotTick(slot), title: `${this.#slotName(slot)}: ${counted(slot.calls, "call")}${told ? ` (${told})` : ""}`, href: slot.calls ? this.#slotHref(slot) : null,
        parts: parts.map((name) => [tones.get(name), values(slot)[name]]) };
    });
    const tone = this.by === "fault" ? "fault" : "series";
    const choose = h("div", { class: "seg", role: "group", "aria-label": "Colours show" }, [["fault", "Whose fault"], ["outcome", "Outcome"]].map(([key, name]) =>
      h("button", { type: "button", "aria-pressed": String(this.by === key), onclick: () => { this.by = key; this.#remember(); this.#show(); } }, name)));
    const legend = h("ul", { class: "legend" }, names.slice(0, this.by === "fault" ? names.length : MOST_SERIES).map((name) => h("li", { [`data-${tone}`]: tones.get(name) }, this.#name(name))),
      this.by === "outcome" && names.length > MOST_SERIES ? h("li", { "data-series": String(MOST_SERIES) }, "others") : null);
    const unit = data.step_ms <= HOUR_MS ? "hour" : data.step_ms <= DAY_MS ? "day" : "week";
    return this.#figure("Calls", {
      height: 210, label: `Calls by ${unit}: ${data.calls} in all`,
      draw: (width) => stackedBars({ width, height: 210, bars, tone, navigate: this.context.navigate }),
      table: () => table(["Time", "Calls", ...names.map((name) => this.#name(name))],
        data.slots.filter((slot) => slot.calls).map((slot) => [h("a", { href: this.#slotHref(slot) }, this.#slotName(slot)), slot.calls, ...names.map((name) => values(slot)[name] ?? 0)]),
        { right: [1, ...names.map((_, index) => index + 2)], caption: `Calls by ${unit}` }),
    }, { id: "volume", note: `by ${unit}`, tools: [choose], after: legend });
  }

  #name(name) {
    return this.by === "fault" ? FAULT_NAMES[name] : words(name);
  }

  #outcomes(data) {
    const most = Math.max(...data.outcomes.map((one) => one.calls));
    const rows = data.outcomes.map((one) => h("li", {},
      h("a", { class: "row-bar", href: this.#list({ outcome: one.outcome, fault: one.fault }), title: one.why.join(" ") },
        h("span", { class: "name" }, words(one.outcome), h("span", { class: "tag", "data-fault": one.fault }, one.fault === "nobody" ? "nobody's fault" : FAULT_NAMES[one.fault])),
        meter(one.calls / most, one.fault), h("span", { class: "num" }, one.calls), h("span", { class: "num soft" }, percent(one.calls, data.calls)))));
    const explained = h("details", { class: "explained" }, h("summary", {}, "What these mean"),
      h("dl", {}, data.outcomes.flatMap((one) => [h("dt", {}, `${words(one.outcome)} · ${FAULT_NAMES[one.fault]}`), ...one.why.map((why) => h("dd", { class: "soft" }, why))])));
    return card("How calls ended", h("div", { class: "body" }, h("ol", { class: "row-bars" }, rows), explained), { id: "outcomes", note: "and whose fault" });
  }

  #week(data) {
    const cells = WEEK.map(() => new Array(24).fill(0));
    for (const one of data.hours) cells[one.weekday][one.hour] = one.calls;
    const most = Math.max(...cells.flat());
    const busiest = data.hours.reduce((best, one) => (one.calls > best.calls ? one : best));
    const told = `busiest ${WEEK[busiest.weekday]} ${busiest.hour}:00 (${counted(busiest.calls, "call")})`;
    return this.#figure("When they call", {
      height: 182, label: `Calls by weekday and hour; ${told}`,
      draw: (width) => heatmap({ width, days: WEEK, cells, most }),
      table: () => table(["Hour", ...WEEK], [...Array(24).keys()].map((hour) => [`${hour}:00`, ...cells.map((day) => day[hour])]), { right: [1, 2, 3, 4, 5, 6, 7] }),
    }, { id: "week", note: told });
  }

  #latency(data) {
    const bins = data.turn_bins.map((bin) => ({
      count: bin.count, tick: bin.from_ms >= 1000 ? `${bin.from_ms / 1000} s` : String(bin.from_ms), tone: bin.from_ms >= 2000 ? "bad" : bin.from_ms >= SLOW_MS ? "interrupted" : "speaking",
      label: bin.to_ms === null ? `over ${milliseconds(bin.from_ms)}` : `${milliseconds(bin.from_ms)} to ${milliseconds(bin.to_ms)}`,
    }));
    if (!bins.length) return card("Answer time", h("div", { class: "body" }, h("p", { class: "soft" }, "No turn was answered in these calls.")), { id: "latency" });
    const at = (ms) => {
      const index = data.turn_bins.findIndex((bin) => bin.to_ms === null || ms < bin.to_ms);
      const bin = data.turn_bins[index];
      const within = bin.to_ms === null ? 0.5 : Math.max(0, (ms - bin.from_ms) / (bin.to_ms - bin.from_ms));
      return (index + within) / data.turn_bins.length;
    };
    const { turns } = data;
    return this.#figure("Answer time", {
      height: 210, label: `From the end of the caller's voice to the agent's first sound, ${turns.count} turns: median ${milliseconds(turns.p50)}, 95 % within ${milliseconds(turns.p95)}`,
      draw: (width) => histogram({ width, height: 210, bins, at, format: milliseconds, marks: [{ name: "p50", value: turns.p50 }, { name: "p95", value: turns.p95 }, { name: "p99", value: turns.p99 }] }),
      table: () => table(["Answered after", "Turns"], bins.map((bin) => [bin.label, bin.count]), { right: [1] }),
    }, { id: "latency", note: `${counted(turns.count, "turn")}` });
  }

  #latencyOverTime(data) {
    const titles = data.slots.map((slot) => `${this.#slotName(slot)}: median ${milliseconds(slot.turn_p50)}, p95 ${milliseconds(slot.turn_p95)}`);
    return this.#figure("Answer time over time", {
      height: 210, label: "Median and 95th percentile of the answer time over time",
      draw: (width) => lines({ width, height: 210, labels: data.slots.map((slot) => this.#slotTick(slot)), titles, format: (ms) => (ms >= 1000 ? `${ms / 1000} s` : String(ms)),
        series: [{ tone: "interrupted", values: data.slots.map((slot) => slot.turn_p95) }, { tone: "speaking", values: data.slots.map((slot) => slot.turn_p50) }] }),
      table: () => table(["Time", "Median", "p95"], data.slots.filter((slot) => slot.turn_p50 !== null).map((slot) => [this.#slotName(slot), milliseconds(slot.turn_p50), milliseconds(slot.turn_p95)]), { right: [1, 2] }),
    }, { id: "latency-time", after: h("ul", { class: "legend" }, h("li", { "data-tone": "speaking" }, "median"), h("li", { "data-tone": "interrupted" }, "95th percentile")) });
  }

  #interruptions(data) {
    const { cut, held, cut_by_reason, held_by_reason, silent } = data.interruptions;
    const rows = (counts, what) => Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([reason, count]) => [what, reason, count]);
    const all = [...rows(cut_by_reason, "cut in"), ...rows(held_by_reason, "held, went on")];
    const most = Math.max(1, ...all.map(([, , count]) => count));
    const bars = h("ol", { class: "row-bars" }, all.map(([what, reason, count]) => h("li", {}, h("div", { class: "row-bar" },
      h("span", { class: "name" }, reason === "vapi" ? "Vapi's word" : words(reason), h("span", { class: "tag", "data-tone": what === "cut in" ? "interrupted" : "listening" }, what)),
      meter(count / most, null, what === "cut in" ? "interrupted" : "listening"), h("span", { class: "num" }, count), h("span", { class: "num soft" }, percent(count, cut + held))))));
    const said = cut + held ? `${cut} ended what the agent said; ${held} were none: it went on where it was` : "Nobody cut in.";
    return card("Interruptions", h("div", { class: "body" }, h("p", { class: "lead" }, said), bars,
      silent.count ? h("p", { class: "soft" }, `From the first voice to silence: median ${milliseconds(silent.p50)}, 95 % within ${milliseconds(silent.p95)}, longest ${milliseconds(silent.longest)}.`) : null), { id: "interruptions" });
  }

  #silence(data) {
    const { owed, longest_silences } = data;
    const rows = longest_silences.map((one) => [h("a", { href: `/calls/${one.call_id}` }, one.call_id), milliseconds(one.owed_ms)]);
    return card("Silence", h("div", { class: "body" },
      h("p", { class: "lead" }, `While the caller waited for something, nobody was heard for ${milliseconds(owed.p50)} at the longest in a usual call, for ${milliseconds(owed.p95)} in the worst of twenty.`),
      rows.length ? h("div", { class: "scroll" }, table(["Call with the longest silences", "Silent"], rows, { right: [1] })) : h("p", { class: "soft" }, "No call had a second of it.")), { id: "silence" });
  }

  #tools(data) {
    const rows = data.tools.map((tool) => [tool.name, tool.asked, tool.failed ? h("span", { class: "failed" }, `${tool.failed} (${percent(tool.failed, tool.asked)})`) : "0",
      meter(tool.asked ? tool.failed / tool.asked : 0, "us"), milliseconds(tool.took.p50), milliseconds(tool.took.p95)]);
    const shown = rows.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tools, one by one" }, table(["Tool", "Asked", "Failed", "Share", "Median", "p95"], rows, { right: [1, 2, 4, 5] })) : h("div", { class: "body soft" }, "No tool was asked for.");
    return card("Tools", shown, { id: "tools" });
  }

  #reasons(data) {
    const rows = data.reasons.map((one) => [h("a", { href: this.#list({ reason: one.reason, outcome: one.outcome, fault: one.fault }) }, one.reason || "(none)"), h("span", { class: "tag", "data-fault": one.fault }, FAULT_NAMES[one.fault]), one.calls]);
    return card("Reasons, as noted", h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Reasons, one by one" }, table(["Reason", "Fault", "Calls"], rows, { right: [2] })), { id: "reasons" });
  }
}

function meter(share, fault, tone = null) {
  const width = share > 0 ? Math.max(1, 100 * share) : 0;
  return svg("svg", { class: "share", "aria-hidden": "true", "data-fault": fault, "data-tone": tone }, svg("rect", { class: "full", width: `${width.toFixed(2)}%`, height: "100%" }));
}
