// "Call the agent": a telephone in the page. The caller's side of a real call, beside the call's own page.

import { card, h, setAttribute, setText } from "./dom.js";
import { duration } from "./format.js";
import { NoMicrophone, Sound, mixed, openMicrophone, peak } from "./handset-audio.js";
import { Line } from "./handset-line.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const SHORTCUTS = { m: "mute", c: "cough", b: "line" };
const LOOK_MS = 150; // for the call's page: the journal is a moment behind the line
const LOOKS = 60;
const SOFTEST_DB = -48; // the left end of a meter

/** Put the handset into its place. Returns what the page asks of it: where it shows, and keys. */
export function mountHandset(place, context) {
  return new Handset(place, context);
}

class Handset {
  #info = null;
  #call = null; // {line, sound, clickedAt, connectedAt, scripted}
  #callId = null;
  #ticker = 0;

  constructor(place, context) {
    Object.assign(this, { place, context });
    this.#build();
    void this.load();
  }

  /** Ask the service whether there is a handset here. */
  async load() {
    if (!this.context.api.isOperator) return;
    try {
      this.#info = await this.context.api.get("/api/handset");
    } catch {
      return; // asked again when the page is entered anew
    }
    this.#fill();
    this.context.handsetChanged();
  }

  /** Whether it stands beside what the page shows: on the list, and beside any view as long as a call is on. */
  shows(path) {
    this.link.hidden = !this.#callId || path === this.link.getAttribute("href"); // we are there already
    return Boolean(this.#info?.available && this.context.api.isOperator && (path === "/" || this.#call || path === this.link.getAttribute("href")));
  }

  /** Hang up: also for who signs out. */
  stop() {
    const call = this.#call;
    if (!call) return;
    call.hungUp = true;
    if (call.line) call.line.hangUp();
    else this.#ended(call, { by: "caller" });
  }

  key(event) {
    if (!this.#call?.connectedAt) return false;
    const order = SHORTCUTS[event.key];
    if (KEYS.includes(event.key)) this.#press(event.key);
    else if (order && !event.repeat) this[order].click();
    else return false;
    return true;
  }

  // --- what it looks like ---

  #build() {
    const button = (text, onclick, given = {}) => h("button", { type: "button", onclick, ...given }, text);
    this.state = h("p", { class: "hs-state", role: "status" });
    this.note = h("p", { class: "message", hidden: true, role: "alert" });
    this.first = h("p", { class: "soft num hs-first", hidden: true });
    this.call = button("Call the agent", () => void this.#dial(false), { class: "primary hs-call" });
    this.script = button("Let a scripted caller call", () => void this.#dial(true));
    this.hangUp = button("Hang up", () => this.stop(), { class: "danger hs-call", title: "As the caller: put your own telephone down" });
    this.mute = button("Mute", () => this.#toggle(this.mute, "mute", "on"), { "aria-pressed": "false", "aria-keyshortcuts": "m" });
    this.cough = button("Cough", () => this.#cough(), { "aria-keyshortcuts": "c", title: "A cough in your place: the agent should not stop for it" });
    this.line = button("Bad line", () => this.#toggle(this.line, "line", "bad"), { "aria-pressed": "false", "aria-keyshortcuts": "b", title: "Jitter up to 160 ms and 6 % loss, both ways" });
    this.keys = h("div", { class: "hs-keys", role: "group", "aria-label": "Keypad" },
      KEYS.map((digit) => button(digit, () => this.#press(digit), { "aria-label": { "*": "star", "#": "hash" }[digit] ?? digit })));
    [this.you, this.agent] = [meter("You"), meter("Agent")];
    this.say = h("ul", { class: "hs-say" });
    this.sayBox = h("div", {}, h("h3", { class: "soft" }, "You could say"), this.say);
    this.link = h("a", { class: "hs-link", hidden: true }, "");
    this.ready = h("div", { class: "hs-buttons" }, this.call, this.script);
    this.talk = h("div", { class: "hs-talk", hidden: true }, h("div", { class: "hs-meters" }, this.you.element, this.agent.element),
      h("div", { class: "hs-row" }, this.mute, this.cough, this.line), this.keys, this.hangUp);
    this.number = h("span", { class: "soft num" });
    this.place.replaceChildren(card("Call the agent", h("div", { class: "body hs" }, this.state, this.note, this.ready, this.talk, this.first, this.link, this.sayBox),
      { id: "handset-card", tools: [this.number] }));
    setText(this.state, "Ready: you are the caller.");
  }

  #fill() {
    const { number, phrases, script } = this.#info;
    setText(this.number, number ?? "");
    this.say.replaceChildren(...phrases.map((text) => h("li", {}, `“${text}”`)));
    this.sayBox.hidden = !phrases.length;
    this.script.hidden = !script.length;
  }

  #tell(text) {
    this.note.hidden = !text;
    setText(this.note, text);
  }

  // --- a call ---

  async #dial(scripted) {
    if (this.#call) return;
    const clickedAt = performance.now();
    const call = (this.#call = { scripted, clickedAt, line: null, sound: null, connectedAt: 0 });
    this.#tell("");
    this.#callId = null;
    this.link.hidden = this.first.hidden = true;
    this.link.removeAttribute("href");
    this.#show(scripted ? "Dialling…" : "Waiting for your microphone: the browser may ask you…");
    try {
      // Begun at once, so that it is ready when the person has said yes, and inside the click, so that it may sound.
      call.sound = new Sound({ frame: (frame) => this.#frame(call, frame), spoke: (level) => this.#spoke(call, level),
        heard: (stats) => this.#heard(stats), first: () => this.#firstSound(call),
        lost: () => this.#tell("The microphone is gone: it was unplugged or taken back. The agent does not hear you any more.") });
      const stream = scripted ? null : await openMicrophone();
      if (this.#call !== call) return void stream?.getTracks().forEach((track) => track.stop()); // thought better of it
      this.#line(call);
      await call.sound.start(stream); // while the line is being put through
    } catch (error) {
      if (this.#call === call) this.#cannot(call, error);
    }
  }

  #line(call) {
    this.#show("Dialling…");
    call.sound.ring();
    call.line = new Line(this.#info.url, { to: this.#info.number, script: call.scripted ? this.#info.script : [], bad_line: pressed(this.line) }, {
      ringing: (sid) => { this.#show("Ringing…"); void this.#find(call, sid); },
      connected: () => this.#connected(call),
      sound: (samples) => this.#sound(call, samples),
      ended: (how) => this.#ended(call, how),
    });
  }

  #cannot(call, error) {
    call.sound?.stop();
    this.#call = null;
    call.line?.hangUp();
    this.#show("Not connected.");
    if (!(error instanceof NoMicrophone)) {
      this.#tell("The browser's sound cannot be used.");
      throw error; // a mistake of ours: let it be seen
    }
    const instead = this.#info.script.length ? " Or let a scripted caller call: it needs no microphone." : "";
    this.#tell(error.message + instead);
    if (instead) this.script.focus();
  }

  #connected(call) {
    call.sound.stopRinging();
    call.connectedAt = performance.now();
    this.#tick();
    this.#ticker = setInterval(() => this.#tick(), 1000);
  }

  #tick() {
    if (!this.#call?.connectedAt) return;
    const who = this.#call.scripted ? "A scripted caller is on the line" : pressed(this.mute) ? "Connected, muted" : "Connected: talk";
    this.#show(`${who} · ${duration(performance.now() - this.#call.connectedAt)}`);
  }

  #ended(call, how) {
    if (this.#call !== call) return;
    clearInterval(this.#ticker);
    call.sound.stop();
    this.#call = null;
    for (const one of [this.mute, this.line]) one.setAttribute("aria-pressed", "false");
    this.you.show(0);
    this.agent.show(0);
    const length = call.connectedAt ? ` after ${duration(performance.now() - call.connectedAt)}` : "";
    const who = how.reached === false ? "" : how.by === "server" ? ": the agent hung up" : call.hungUp ? ": you hung up" : "";
    this.#show(`Call over${length}${who}`);
    if (!who) this.#tell(how.why ?? "");
    if (this.#callId) setText(this.link, "What happened in this call →");
    this.context.handsetChanged();
    (this.place.hidden ? null : this.call)?.focus({ preventScroll: true });
  }

  /** The call's own page, as soon as the service knows the call; then go there. */
  async #find(call, sid) {
    for (let n = 0; n < LOOKS && this.#call === call; n++) {
      try {
        const { id } = await this.context.api.get(`/api/handset/call?sid=${sid}`);
        if (this.#call !== call) return;
        this.#callId = id;
        setAttribute(this.link, "href", `/calls/${encodeURIComponent(id)}`);
        setText(this.link, "This call, live →");
        if (location.pathname === "/") this.context.navigate(this.link.getAttribute("href"));
        else this.context.handsetChanged();
        return;
      } catch (error) {
        if (error.status !== 404) return;
        await new Promise((again) => setTimeout(again, LOOK_MS));
      }
    }
  }

  // --- sound ---

  #frame(call, frame) {
    if (call.connectedAt && !call.scripted && !pressed(this.mute)) call.line?.say(frame);
  }

  #spoke(call, level) {
    if (!call.scripted) this.you.show(pressed(this.mute) ? 0 : level);
  }

  #sound(call, samples) {
    if (call.scripted) {
      this.you.show(peak(samples.subarray(samples.length / 2)));
      this.agent.show(peak(samples.subarray(0, samples.length / 2)));
      call.sound.play(mixed(samples).buffer);
    } else call.sound.play(samples.buffer);
  }

  #heard(stats) {
    if (!this.#call?.scripted) this.agent.show(stats.level);
    Object.assign(this.place.dataset, { gaps: stats.gaps, skipped: stats.skipped, waiting: stats.waiting });
  }

  #firstSound(call) {
    const seconds = (performance.now() - call.clickedAt) / 1000;
    this.place.dataset.firstSoundMs = Math.round(seconds * 1000);
    setText(this.first, `First sound ${seconds.toFixed(1)} s after the click`);
    this.first.hidden = false;
  }

  // --- buttons ---

  #press(digit) {
    if (!this.#call?.connectedAt) return;
    this.#call.line.tell({ type: "key", digit });
    this.#call.sound.key(digit);
    const key = this.keys.children[KEYS.indexOf(digit)];
    key.dataset.down = "";
    setTimeout(() => delete key.dataset.down, 180);
  }

  #cough() {
    this.#call?.line?.tell({ type: "sound", name: "cough" });
  }

  #toggle(button, order, name) {
    const on = !pressed(button);
    button.setAttribute("aria-pressed", String(on));
    this.#call?.line?.tell({ type: order, [name]: on });
    this.#tick();
  }

  #show(text) {
    setText(this.state, text);
    const { connectedAt = 0, scripted = false } = this.#call ?? {};
    setAttribute(this.place, "data-state", this.#call ? (connectedAt ? "connected" : "dialling") : "idle");
    this.ready.hidden = Boolean(this.#call);
    this.talk.hidden = !this.#call;
    this.sayBox.hidden = scripted || !this.#info?.phrases.length;
    this.mute.disabled = scripted || !connectedAt;
    for (const one of [this.cough, this.line, ...this.keys.children]) one.disabled = !connectedAt;
  }
}

function pressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

/** A level, in decibels, because ears hear so. */
function meter(name) {
  const bar = h("i");
  const element = h("div", { class: "hs-meter", role: "meter", "aria-label": `${name}: loudness`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 }, h("span", {}, name), h("b", {}, bar));
  const show = (level) => {
    const part = level > 0 ? Math.max(0, Math.min(1, 1 - (20 * Math.log10(level)) / SOFTEST_DB)) : 0;
    bar.style.setProperty("transform", `scaleX(${part.toFixed(3)})`);
    setAttribute(element, "aria-valuenow", Math.round(part * 100));
  };
  return { element, show };
}
