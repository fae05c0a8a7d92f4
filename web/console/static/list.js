// The calls: those that live, pushed by the service, and those that are over, page by page.

import { card, emptyState, h, setText, settle } from "./dom.js";
import { filterText, readFilters } from "./filters.js";
import { counted } from "./format.js";
import { RowSet } from "./rowset.js";
import { Stream } from "./stream.js";

const PAGE = 50;
const MOST_LIVE = 1000;
const LIVE_PAGE = 200; // the most that the service gives at once
const SHOW = [["all", "All"], ["live", "Live"], ["ended", "Finished"]];
const COLUMNS = ["Caller", "Agent", "Length:right", "Latency:right", "Cut-ins:right", "Tools:right", "Last words"];

export function showList(root, context) {
  return new CallList(root, context);
}

class CallList {
  #next = null;
  #asked = 0;
  #skewMs = 0;
  #waiting = [];

  constructor(root, context) {
    this.context = context;
    const address = new URLSearchParams(location.search);
    this.show = SHOW.some(([key]) => key === address.get("show")) ? address.get("show") : "all";
    this.filters = readFilters(address);
    this.#build(root, address.get("q") ?? "");
    this.search = settle(() => this.#loadEnded(), 250);
    this.timer = setInterval(() => this.live.tick(Date.now() + this.#skewMs), 1000);
    this.stream = new Stream({
      address: () => "/api/events",
      events: { hello: context.hello, calls: (data) => this.#changed(data) },
      onOpen: () => this.reload(),
      onState: (state, waitMs) => context.link.show(state, waitMs),
      onLost: context.stillSignedIn,
    });
    context.link.retry = () => this.stream.retryNow();
    this.reload();
  }

  stop() {
    this.stream.stop();
    this.search.stop();
    clearInterval(this.timer);
  }

  key(event) {
    if (event.key === "/") this.box.focus();
    else if (event.key === "j" || event.key === "k") this.#move(event.key === "j" ? 1 : -1);
    else return false;
    return true;
  }

  async reload() {
    await Promise.all([this.#loadLive(), this.#loadEnded()]);
  }

  #build(root, query) {
    this.box = h("input", { type: "search", placeholder: "Search caller, agent, words, id", "aria-label": "Search calls", value: query,
      oninput: () => this.#searched(), onkeydown: (event) => event.key === "Escape" && this.box.blur() });
    this.buttons = SHOW.map(([key, name]) =>
      h("button", { type: "button", "aria-pressed": String(key === this.show), onclick: () => this.#choose(key) }, name));
    const [liveList, endedList] = [h("ol", { class: "rows" }), h("ol", { class: "rows" })];
    [this.live, this.ended] = [new RowSet(liveList), new RowSet(endedList)];
    [this.liveNote, this.endedNote] = [h("span", { class: "count num" }), h("span", { class: "count num" })];
    [this.liveEmpty, this.endedEmpty] = [h("div", {}), h("div", {})];
    this.more = h("div", { class: "more", hidden: true }, h("button", { type: "button", onclick: () => this.#loadMore() }, "Show older calls"));
    this.liveCard = card("Live", h("div", {}, heads("Phase"), liveList, this.liveEmpty), { id: "live", tools: [this.liveNote] });
    this.endedCard = card("Finished", h("div", {}, heads("Outcome", "Reason"), endedList, this.endedEmpty, this.more), { id: "ended", tools: [this.endedNote] });
    root.replaceChildren(h("div", { class: "page" },
      h("div", { class: "tools" }, h("h1", {}, "Calls"), h("div", { class: "seg", role: "group", "aria-label": "Show" }, this.buttons), this.box),
      this.#filterBar(), this.liveCard, this.endedCard));
    this.#choose(this.show);
  }

  /** Finished calls chosen elsewhere, as by a bar of the insights. */
  #filterBar() {
    if (!Object.keys(this.filters).length) return null;
    const all = () => this.context.navigate("/");
    return h("p", { class: "filtered" }, h("span", {}, `Only calls ${filterText(this.filters)}.`), h("button", { type: "button", onclick: all }, "Show all calls"));
  }

  #choose(show) {
    this.show = show;
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(SHOW[index][0] === show)));
    this.liveCard.hidden = show === "ended";
    this.endedCard.hidden = show === "live";
    this.#remember();
  }

  #searched() {
    this.live.filter(this.#query);
    this.search.ask();
    this.#remember();
    this.#count();
  }

  get #query() {
    return this.box.value.trim().toLowerCase();
  }

  #remember() {
    const kept = new URLSearchParams(this.filters);
    if (this.show !== "all") kept.set("show", this.show);
    if (this.box.value) kept.set("q", this.box.value);
    history.replaceState(null, "", kept.size ? `/?${kept}` : "/");
  }

  async #loadLive() {
    const calls = [];
    for (let cursor = ""; cursor !== null && calls.length < MOST_LIVE; ) {
      const answer = await this.#get(`/api/calls?state=live&limit=${LIVE_PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      if (!answer) return;
      calls.push(...answer.calls);
      cursor = answer.next;
    }
    this.live.replace(calls);
    this.live.filter(this.#query);
    this.#count();
  }

  async #loadEnded() {
    const asked = ++this.#asked;
    const answer = await this.#get(this.#endedAddress());
    if (!answer || asked !== this.#asked) return; // a later search has been typed
    this.ended.replace(answer.calls);
    this.#paged(answer);
  }

  async #loadMore() {
    const answer = await this.#get(this.#endedAddress(this.#next));
    if (!answer) return;
    for (const call of answer.calls) this.ended.set(call);
    this.#paged(answer);
  }

  #paged(answer) {
    this.#next = answer.next ?? null;
    this.more.hidden = !this.#next;
    this.#count();
  }

  #endedAddress(cursor) {
    const asked = new URLSearchParams({ state: "ended", limit: PAGE, ...this.filters });
    if (this.box.value.trim()) asked.set("q", this.box.value.trim());
    if (cursor) asked.set("cursor", cursor);
    return `/api/calls?${asked}`;
  }

  async #get(path) {
    try {
      const answer = await this.context.api.get(path);
      this.problem = null;
      return answer;
    } catch (error) {
      this.problem = error;
      this.#count();
      return null;
    }
  }

  /** A delta: calls that are new or changed. Taken in one go a frame, so that three hundred changes are one layout. */
  #changed(data) {
    const young = data.calls.find((call) => call.state === "live"); // its length tells the service's time
    if (young) this.#skewMs = young.began_ms + young.duration_ms - Date.now();
    if (!this.#waiting.length) requestAnimationFrame(() => this.#take());
    this.#waiting.push(...data.calls);
  }

  #take() {
    for (const call of this.#waiting.splice(0)) {
      if (call.state !== "live") this.#over(call);
      else {
        const row = this.live.set(call);
        row.element.hidden = !row.matches(this.#query);
      }
    }
    this.#count();
  }

  #over(call) {
    this.live.remove(call.id);
    if (Object.keys(this.filters).length) return; // whether it fits only the service knows
    const row = this.ended.set(call);
    if (!row.matches(this.#query)) this.ended.remove(call.id);
  }

  #count() {
    setText(this.liveNote, this.live.size ? counted(this.live.size, "call") : "");
    setText(this.endedNote, this.ended.size ? `${this.#next ? "newest " : ""}${counted(this.ended.size, "call")}` : "");
    const lost = this.problem && this.problem.status !== 401 ? emptyState(this.problem.title, this.problem.detail) : null;
    const found = Boolean(this.#query);
    fill(this.liveEmpty, this.live.shown ? null : lost ?? emptyState(found ? "No live call matches" : "No call right now",
      found ? "Try fewer letters." : "A call appears here the moment it comes in."));
    fill(this.endedEmpty, this.ended.size ? null : lost ?? emptyState(found ? "No finished call matches" : "No finished calls yet",
      found ? "Words, numbers (their last two digits), agents and ids are searched." : "Phone the agent, and look at what happened here."));
  }

  #move(step) {
    const rows = [...document.querySelectorAll("#view .card:not([hidden]) li:not([hidden]) > a.row")];
    const at = rows.indexOf(document.activeElement);
    rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
  }
}

function heads(first, last = "") {
  return h("div", { class: "rows-head", "aria-hidden": "true" }, [first, ...COLUMNS, last, "Began:right"].map((name) => {
    const [text, side = null] = name.split(":");
    return h("span", { class: side }, text);
  }));
}

function fill(place, content) {
  if (!content) place.replaceChildren();
  else if (place.textContent !== content.textContent) place.replaceChildren(content);
}
