// One <audio> element, and the controls of the timeline. The recording's first sample is not always the call's first moment.

import { h, setText } from "./dom.js";
import { moment } from "./format.js";

const SPEEDS = [0.5, 1, 1.5, 2];

export class Player {
  #frame = 0;

  /**
   * @param onTime (ms, playing) => void: the call's clock, each frame while it plays.
   * @param audio the element that has the sound already, as in an exported file.
   */
  constructor(onTime, audio = h("audio", { preload: "auto" })) {
    this.onTime = onTime;
    this.offsetMs = 0;
    this.audio = audio;
    this.button = h("button", { type: "button", class: "primary icon", "aria-label": "Play", disabled: true, onclick: () => this.toggle() }, "▶");
    this.time = h("span", { class: "num mono time" }, "0:00.000");
    this.speed = h("select", { "aria-label": "Speed", onchange: () => (this.audio.playbackRate = Number(this.speed.value)) },
      SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    this.note = h("span", { class: "soft note" });
    this.element = h("div", { class: "player" }, this.button, this.time, this.speed, this.note, this.audio);
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.#changed());
    this.audio.addEventListener("seeked", () => this.audio.paused && this.#tell());
    this.audio.addEventListener("error", () => this.audio.hasAttribute("src") && this.unavailable("The recording cannot be played: it was deleted, or the service does not answer."));
  }

  load(url, offsetMs = 0) {
    this.offsetMs = offsetMs;
    if (this.audio.getAttribute("src") !== url) this.audio.src = url;
    this.button.disabled = this.speed.hidden = false;
    setText(this.note, "");
  }

  unavailable(why) {
    this.button.disabled = this.speed.hidden = true;
    setText(this.note, why);
  }

  toggle() {
    if (this.button.disabled) return;
    if (this.audio.paused) void this.audio.play().catch(() => this.unavailable("The recording cannot be played in this browser."));
    else this.audio.pause();
  }

  seek(ms) {
    setText(this.time, moment(ms));
    if (!this.button.disabled) this.audio.currentTime = Math.max(0, (ms - this.offsetMs) / 1000);
  }

  show(ms) {
    setText(this.time, moment(ms));
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load(); // gives the connection back
  }

  #changed() {
    const playing = !this.audio.paused && !this.audio.ended;
    setText(this.button, playing ? "❚❚" : "▶");
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    cancelAnimationFrame(this.#frame);
    if (playing) this.#run();
    else this.#tell();
  }

  #run() {
    this.#tell();
    this.#frame = requestAnimationFrame(() => this.#run());
  }

  #tell() {
    const ms = this.audio.currentTime * 1000 + this.offsetMs;
    setText(this.time, moment(ms));
    this.onTime(ms, !this.audio.paused);
  }
}
