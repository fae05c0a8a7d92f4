// What the service worked out of a call, as lists and tables: the account, the conversation, interruptions, latency, tools.

import { emptyState, h, svg } from "./dom.js";
import { clock, milliseconds, moment, words } from "./format.js";

/** A time that leads there. */
function jump(ms, seek, text = moment(ms)) {
  return h("button", { type: "button", class: "jump num mono", "data-ms": Math.round(ms), title: "Go there", onclick: () => seek(ms) }, text);
}

export function story(call, seek) {
  if (!call.story.length) return emptyState("Nothing yet", "The account grows with the call.");
  return h("ol", { class: "story" }, call.story.map((line) =>
    h("li", {}, h("span", { class: "when" }, jump(line.at_ms, seek), line.at ? h("span", { class: "soft num" }, clock(line.at)) : null), h("p", {}, sentence(line.text)))));
}

/** A sentence begins with a capital, unless its first word is the name of a tool. */
function sentence(text) {
  return /^\w*_/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

const WHO = { operator: "Operator", caller: "Caller", agent: "Agent", line: "Callscope" };

export function conversation(call, seek) {
  if (!call.turns.length) return emptyState("No words yet", "What is said, and heard, appears here.");
  return h("ol", { class: "talk" }, call.turns.map((turn) =>
    h("li", { "data-who": turn.who, "data-ms": Math.round(turn.at_ms) }, h("div", { class: "by" }, WHO[turn.who] ?? turn.who, " ", jump(turn.at_ms, seek)),
      h("p", {}, turn.text || h("span", { class: "soft" }, "nothing was heard"),
        turn.cut ? h("span", { class: "cut", title: "The caller cut in" }, " ✂ ") : null,
        turn.unheard ? h("del", { title: "Said by the agent, not heard by the caller" }, turn.unheard) : null))));
}

export function interruptions(call, seek) {
  if (!call.certificates.length) return emptyState("No interruption", "Nobody has cut in.");
  const rows = call.certificates.map((one) => {
    const onsetMs = one.onset_ms ?? one.onset_at * 1000;
    const dropped = one.decision === "dropped";
    return h("tr", {}, h("td", {}, jump(onsetMs, seek)),
      h("td", {}, h("span", { class: "chip plain", "data-phase": dropped ? "interrupted" : "listening" }, dropped ? "cut in" : words(one.decision || "open"))),
      h("td", {}, words(one.reason), one.words ? h("q", { class: "said" }, one.words) : null),
      num(milliseconds(one.clear_ms)), num(milliseconds(one.silent_ms), one.silent_ms > 150), num(milliseconds(one.decided_ms)),
      num(milliseconds(one.still_heard_ms)), num(milliseconds(one.unheard_ms)));
  });
  return table("Interruption certificates", ["Onset", "Outcome", "Because", ":clear sent", ":silent after", ":decided after", ":still heard", ":not heard"], rows);
}

const STEP_TONES = { "final transcript": "listening", "caller's turn is over": "connecting", "tool asked for": "interrupted", "tool's result": "tool_pending",
  "agent's words": "transferring", "agent begins to speak": "ended", "first sound": "speaking", "line of ours ordered": "dropped" };

/** One bar a turn: from the caller's last sound to the agent's first, cut where something became known. */
export function waterfall(call, seek) {
  if (!call.latency.length) return emptyState("No answer yet", "From the caller's last word to the agent's first sound, turn by turn.");
  const longest = Math.max(...call.latency.map((turn) => turn.latency_ms), 500);
  const tones = new Map();
  for (const turn of call.latency) for (const { name } of turn.steps) if (!tones.has(name)) tones.set(name, STEP_TONES[name] ?? "ended");
  const legend = h("ul", { class: "legend" }, [...tones].map(([name, tone]) => h("li", { "data-tone": tone }, words(name))));
  const bars = call.latency.map((turn) => h("li", {}, jump(turn.began_ms, seek), bar(turn, longest, tones),
    h("span", { class: turn.latency_ms > 1500 ? "num slow" : "num" }, milliseconds(turn.latency_ms))));
  return h("div", {}, h("ol", { class: "bars" }, bars), legend);
}

function bar(turn, longest, tones) {
  const percent = (ms) => (100 * Math.max(0, ms)) / longest;
  const told = turn.steps.map((step) => `${words(step.name)} after ${milliseconds(step.since_ms)}`).join(", ");
  const picture = svg("svg", { viewBox: "0 0 100 16", preserveAspectRatio: "none", role: "img", "aria-label": `Turn ${turn.turn}: ${milliseconds(turn.latency_ms)}. ${told}` },
    svg("rect", { class: "track", width: percent(turn.latency_ms), height: 16 }));
  let from = 0;
  for (const step of turn.steps) {
    const to = Math.min(step.since_ms, turn.latency_ms);
    picture.append(svg("rect", { "data-tone": tones.get(step.name), x: percent(from), width: Math.max(0.4, percent(to - from)), height: 16 },
      svg("title", {}, `${words(step.name)}: ${milliseconds(from)} to ${milliseconds(step.since_ms)}`)));
    from = Math.max(from, to);
  }
  if (turn.bridged_ms !== null && turn.bridged_ms !== undefined)
    picture.append(svg("rect", { class: "bridge", x: percent(turn.bridged_ms), width: 0.8, height: 16 }, svg("title", {}, `bridged by a line of ours after ${milliseconds(turn.bridged_ms)}`)));
  return picture;
}

export function tools(call, seek) {
  if (!call.tools.length) return emptyState("No tool was used", "");
  return h("ol", { class: "ledger" }, call.tools.map((tool) => h("li", {}, h("details", {},
    h("summary", {}, h("span", { class: "mono name" }, tool.name),
      h("span", { class: "chip plain", "data-outcome": tool.state === "ok" ? "good" : tool.state === "failed" ? "bad" : null }, tool.state),
      h("span", { class: "num soft" }, tool.took_ms === null ? "" : milliseconds(tool.took_ms)),
      tool.repeated ? h("span", { class: "soft" }, `asked ${tool.repeated + 1} times`) : null),
    h("div", { class: "entries" }, h("pre", {}, JSON.stringify(tool.arguments ?? {}, null, 1)),
      h("ol", {}, tool.entries.map((entry) => h("li", {}, jump(entry.at_ms, seek), " ", words(entry.what)))))),
  h("p", {}, jump(tool.asked_ms, seek), " ", tool.text ?? h("span", { class: "soft" }, "no answer")))));
}

const FACTS = [["Id", (c) => c.id], ["Agent", (c) => c.agent], ["Direction", (c) => c.direction], ["From", (c) => c.from], ["To", (c) => c.to],
  ["Began", (c) => clock(c.began_at)], ["Outcome", (c) => words(c.outcome)], ["Reason", (c) => c.reason],
  ["Median latency", (c) => milliseconds(c.latency_ms?.turn_p50)], ["95th percentile", (c) => milliseconds(c.latency_ms?.turn_p95)],
  ["Recording", (c) => (c.recording ? moment(c.recording.duration_ms) : null)], ["Records", (c) => c.records]];

export function facts(call) {
  const audio = Object.entries(call.audio ?? {}).map(([name, value]) => [words(name).replace(/ ms$/, ""), name.endsWith("_ms") ? milliseconds(value) : value]);
  const rows = [...FACTS.map(([name, read]) => [name, read(call)]), ...audio].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", { class: "num" }, String(value))]));
}

function num(text, slow = false) {
  return h("td", { class: slow ? "num right slow" : "num right" }, text);
}

function table(caption, heads, rows) {
  const cells = heads.map((head) => h("th", { scope: "col", class: head.startsWith(":") ? "right" : null }, head.replace(":", "")));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, cells)), h("tbody", {}, rows)));
}
