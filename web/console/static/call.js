// One call, live or over: the same page. A live call grows in place; what the reader looks at stays where it is.

import { Actions } from "./actions.js";
import { Diagram } from "./diagram.js";
import { card, emptyState, h, setAttribute, setText, settle } from "./dom.js";
import { clock, duration, outcomeKind, words } from "./format.js";
import { Journal } from "./journal.js";
import * as panels from "./panels.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";

const SETTLE_MS = 350; // after the last record the service is asked for what it makes of them
const PANELS = [["talk", "Conversation", "conversation"], ["story", "What happened", "story"], ["cuts", "Interruptions", "interruptions"],
  ["latency", "Answer latency", "waterfall"], ["tools", "Tools", "tools"], ["facts", "Facts", "facts"]];

export function showCall(root, source, context) {
  const view = new CallView(root, source, context);
  void view.start();
  return view;
}

class CallView {
  #stopped = new AbortController();
  #changes = []; // of phase: {atMs, from, to}
  #told = new Map(); // panel → what it was made of
  #stream = null;
  #ticker = 0;

  constructor(root, source, context) {
    Object.assign(this, { root, source, context, call: null });
    this.refresh = settle(() => void this.#refresh(), SETTLE_MS);
  }

  async start() {
    this.root.replaceChildren(emptyState("…", "The call is being fetched."));
    try {
      const [call, diagram] = await Promise.all([this.source.detail(), this.source.diagram()]);
      if (this.#stopped.signal.aborted) return;
      this.#build(diagram);
      this.#show(call);
      this.timeline.setLanes(await this.source.lanes());
      if (call.state === "live") this.#follow();
      else await this.#ended();
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#failed(error);
    }
  }

  stop() {
    this.#stopped.abort();
    this.#stream?.stop();
    this.refresh.stop();
    clearInterval(this.#ticker);
    this.timeline?.stop();
    this.player?.stop();
  }

  repaint() {
    this.timeline?.repaint();
  }

  key(event) {
    if (!this.timeline || event.target.closest("summary, button, a") && [" ", "Enter"].includes(event.key)) return false;
    if (event.key === " ") this.player.toggle();
    else if (event.key === "/") this.#searchJournal();
    else if (event.key === "[" || event.key === "]") this.#nextCut(event.key === "]" ? 1 : -1);
    else if (event.target.closest(".scroll")) return false; // arrows scroll there
    else return this.timeline.key(event);
    return true;
  }

  #build(diagram) {
    const seek = (ms) => this.seek(ms);
    this.diagram = new Diagram(diagram);
    this.timeline = new Timeline((ms) => this.#sought(ms));
    this.player = new Player((ms, playing) => this.#played(ms, playing), this.source.audio);
    this.journal = new Journal(seek);
    this.actions = new Actions(this.source, () => this.refresh.ask());
    this.chip = h("span", { class: "chip" });
    this.title = h("h1", { class: "num" });
    this.sub = h("p", { class: "soft num" });
    this.announce = h("p", { class: "unseen", "aria-live": "polite" });
    this.places = Object.fromEntries(PANELS.map(([id]) => [id, h("div", { class: "body" })]));
    const cards = Object.fromEntries(PANELS.map(([id, title]) => [id, card(title, this.places[id], { id })]));
    const top = h("div", { class: "call-top" },
      h("div", { class: "call-name" }, this.source.frozen ? null : h("a", { class: "back", href: "/", title: "All calls (g)" }, "← Calls"),
        h("div", { class: "title" }, this.title, this.chip), this.sub, this.announce), this.source.frozen ? null : this.actions.element);
    this.root.replaceChildren(h("div", { class: "call" }, top,
      card("Timeline", h("div", {}, this.timeline.element), { id: "timeline", tools: [this.player.element, this.#zoomButtons()] }),
      h("div", { class: "trio" }, cards.talk, cards.story, card("Phases", h("div", { class: "body" }, this.diagram.element), { id: "phases" })),
      h("div", { class: "duo" }, cards.cuts, cards.latency), h("div", { class: "duo" }, cards.tools, cards.facts), this.journal.element));
  }

  #zoomButtons() {
    const tool = (text, label, onclick) => h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick }, text);
    this.nowButton = h("button", { type: "button", hidden: true, onclick: () => this.timeline.followNow() }, "Now");
    return h("div", { class: "zoom", role: "group", "aria-label": "Zoom" }, this.nowButton,
      tool("−", "Zoom out", () => this.timeline.zoom(1 / 1.6)), tool("+", "Zoom in", () => this.timeline.zoom(1.6)), tool("⤢", "Show all", () => this.timeline.fit()));
  }

  // --- what the service says ---

  #show(call) {
    this.call = call;
    const live = call.state === "live";
    this.beganPerf = performance.now() - call.duration_ms;
    setText(this.title, call.direction === "outbound" ? `Call to ${call.to ?? "unknown"}` : `Call from ${call.from ?? "unknown"}`);
    document.title = `${this.title.textContent} · Callscope`;
    this.nowButton.hidden = !live;
    this.#head();
    this.actions.show(call, Boolean(this.context.api?.isOperator));
    for (const [id, , make] of PANELS) this.#panel(id, make);
    this.#lightDiagram();
  }

  #head() {
    const { call } = this;
    const live = call.state === "live";
    setText(this.chip, words(live ? call.phase : call.outcome));
    setAttribute(this.chip, "data-phase", live ? call.phase : null);
    setAttribute(this.chip, "data-outcome", live ? null : outcomeKind(call.outcome));
    setAttribute(this.chip, "data-live", live);
    const length = live ? this.#elapsed() : call.duration_ms;
    setText(this.sub, [call.agent, call.direction === "outbound" ? `from ${call.from}` : `to ${call.to}`, clock(call.began_at), duration(length), live ? null : call.reason].filter(Boolean).join(" · "));
  }

  /** Made anew only when its facts changed, and scrolled on only for who was at its end. */
  #panel(id, make) {
    const { call } = this;
    const made = { talk: call.turns, story: call.story, cuts: call.certificates, latency: call.latency, tools: call.tools, facts: [{ ...call, duration_ms: 0, turns: 0, story: 0 }] }[id];
    const key = JSON.stringify(made);
    if (this.#told.get(id) === key) return;
    this.#told.set(id, key);
    const place = this.places[id];
    const atEnd = place.scrollTop + place.clientHeight > place.scrollHeight - 24;
    const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.querySelector(".name")?.textContent));
    place.replaceChildren(panels[make](call, (ms) => this.seek(ms)));
    for (const one of place.querySelectorAll("details")) one.open = open.has(one.querySelector(".name")?.textContent);
    if (call.state === "live" && atEnd) place.scrollTop = place.scrollHeight;
    const overflows = place.scrollHeight > place.clientHeight + 1;
    setAttribute(place, "tabindex", overflows ? "0" : null); // who scrolls with keys must be able to get there
  }

  async #refresh() {
    try {
      const [call, lanes] = await Promise.all([this.source.detail(), this.source.lanes()]);
      if (this.#stopped.signal.aborted) return;
      const ended = this.call.state === "live" && call.state !== "live";
      this.#show(call);
      this.timeline.setLanes(lanes);
      if (ended) await this.#ended();
    } catch (error) {
      if (error.status === 404) this.#failed(error);
      else if (error.status !== 401 && this.call.state === "live") this.refresh.ask();
    }
  }

  #follow() {
    this.timeline.setLive(() => this.#elapsed());
    this.player.unavailable("Live: the recording can be played when the call is over.");
    this.#ticker = setInterval(() => this.#head(), 1000);
    this.#stream = this.source.follow(() => this.journal.lastSeq, (records) => this.#records(records), (again) => again && this.refresh.ask());
  }

  /** The call is over: its sound, and the records that came after the end. */
  async #ended() {
    clearInterval(this.#ticker);
    this.timeline.setLive(null);
    this.timeline.fit();
    const records = this.source.records(this.journal.lastSeq, (some) => this.#records(some, false), this.#stopped.signal);
    await Promise.all([records, this.#sound()]);
  }

  async #sound() {
    const { call } = this;
    if (!call.recording) {
      const why = call.recording_problem ? `There is no recording: ${call.recording_problem}.` : "There is no recording of this call: it was never made, or it was deleted.";
      return this.player.unavailable(why);
    }
    const url = this.source.audioUrl(call);
    const { offset_ms: offsetMs = 0 } = call.recording;
    if (url) this.player.load(url, offsetMs);
    else this.player.unavailable("This file was exported without its sound.");
    try {
      const wave = await this.source.waveform(call);
      const stretch = { fromMs: offsetMs, toMs: offsetMs + wave.duration_ms };
      this.timeline.setWaves({ caller: { peaks: wave.caller, ...stretch }, agent: { peaks: wave.heard, ...stretch } });
    } catch (error) {
      if ([404, 410].includes(error.status)) this.player.unavailable(error.detail || "The recording was deleted.");
    }
  }

  #records(records, live = true) {
    for (const record of this.journal.add(records)) {
      if (record.kind !== "phase") continue;
      this.#changes.push({ atMs: record.at_ms, from: record.data.from ?? this.#changes.at(-1)?.to, to: record.name });
      if (live) this.#phase(record.name);
    }
    this.#lightDiagram();
    if (live) this.refresh.ask();
  }

  #phase(phase) {
    this.call.phase = phase;
    setText(this.announce, `Phase: ${words(phase)}`);
    this.#head();
  }

  #failed(error) {
    this.stop();
    if (error.status === 401) return;
    const back = this.source.frozen ? [] : [h("a", { class: "button", href: "/" }, "All calls")];
    const again = error.status === 404 ? [] : [h("button", { type: "button", class: "primary", onclick: () => location.reload() }, "Try again")];
    const [title, text] = error.status === 404
      ? ["There is no such call", "It may have been deleted, or the address is not whole. The list shows what there is."] : [error.title ?? "The call cannot be shown", error.detail ?? error.message];
    const told = emptyState(title, text, ...again, ...back);
    this.root.replaceChildren(told);
    if (!error.status && error.status !== 0) throw error; // a mistake of ours: let it be seen
    if (error.status === 0) setTimeout(() => this.root.contains(told) && this.context.again?.(), 3000);
  }

  // --- one cursor for all ---

  seek(ms) {
    this.timeline.following = false;
    this.timeline.setCursor(ms, { reveal: true });
    this.#sought(ms);
  }

  #sought(ms) {
    this.player.seek(ms);
    this.#at(ms);
  }

  #played(ms, playing) {
    if (!playing && this.timeline.cursorMs === null) return;
    this.timeline.setCursor(ms, { reveal: playing });
    this.#at(ms);
  }

  #at(ms) {
    this.#lightDiagram();
    for (const place of [this.places.talk, this.places.story]) {
      let now = null;
      for (const item of place.querySelectorAll("li")) {
        const at = Number(item.dataset.ms ?? item.querySelector("[data-ms]")?.dataset.ms);
        if (at <= ms + 1) now = item;
      }
      for (const item of place.querySelectorAll("li[aria-current]")) if (item !== now) item.removeAttribute("aria-current");
      if (now && !now.hasAttribute("aria-current")) {
        now.setAttribute("aria-current", "true");
        const below = now.offsetTop - place.offsetTop;
        if (below < place.scrollTop || below + now.offsetHeight > place.scrollTop + place.clientHeight) place.scrollTop = below - 40;
      }
    }
  }

  #lightDiagram() {
    const live = this.call?.state === "live" && this.timeline.following;
    const at = live ? null : this.timeline?.cursorMs;
    const changes = at === null || at === undefined ? this.#changes : this.#changes.filter((change) => change.atMs <= at);
    const phase = changes.at(-1)?.to ?? (this.#changes.length ? this.#changes[0].from : this.call?.phase) ?? "connecting";
    if (!this.diagram || this.lit === `${changes.length}/${phase}`) return;
    this.lit = `${changes.length}/${phase}`;
    this.diagram.light(changes, phase);
  }

  #nextCut(step) {
    const at = this.timeline.cursorMs ?? 0;
    const onsets = this.call.certificates.map((one) => one.onset_ms ?? one.onset_at * 1000).sort((a, b) => a - b);
    const to = step > 0 ? onsets.find((ms) => ms > at + 1) : onsets.findLast((ms) => ms < at - 1);
    if (to !== undefined) this.seek(to);
  }

  #searchJournal() {
    this.journal.element.open = true;
    this.journal.box.focus();
  }

  #elapsed() {
    return performance.now() - this.beganPerf;
  }
}
