// What an operator may do to a call. Viewers see none of it; the service refuses them as well.

import { h } from "./dom.js";
import { ask, toast } from "./notices.js";

export class Actions {
  #muted = false;

  constructor(source, onDone) {
    this.source = source;
    this.onDone = onDone;
    this.element = h("div", { class: "actions", role: "group", "aria-label": "Actions" });
  }

  /** Show what can be done with the call as it is now. */
  show(call, isOperator) {
    const live = call.state === "live";
    this.#muted = Boolean(call.muted);
    const key = `${live}/${isOperator}/${call.marked}/${this.#muted}/${call.transfer_to?.join()}`;
    if (key === this.element.dataset.key) return; // a button that somebody is about to press stays where it is
    this.element.dataset.key = key;
    const buttons = [];
    if (isOperator && live) buttons.push(
      button("Say…", () => this.#say()),
      button(this.#muted ? "Unmute assistant" : "Mute assistant", () => this.#mute(), { pressed: this.#muted }),
      button("Transfer…", () => this.#transfer(call)),
      button("End call…", () => this.#endCall(), { danger: true, title: "As the operator: end the call for both sides" }));
    if (isOperator) buttons.push(button(call.marked ? "★ Marked" : "☆ Mark for replay", () => this.#do({ action: call.marked ? "unmark" : "mark" },
      call.marked ? "The mark is taken away." : "Marked for replay."), { pressed: call.marked }));
    const download = (path, text, title) => h("a", { class: "button", href: `${this.source.base}/${path}`, download: "", title }, text);
    if (!live) buttons.push(download("export.html", "Export page", "One file that opens offline: this page with its sound"),
      download("scenario", "Export scenario", "A test file for `callscope test`; personal data masked, as far as it can be known"));
    this.element.replaceChildren(...buttons);
  }

  async #say() {
    const text = h("textarea", { name: "text", required: true, maxlength: 1000, "aria-label": "What to say", autofocus: true });
    const given = await ask("Say to the caller", [h("p", { class: "soft" }, "The agent says it in its own voice, and goes on from there."), text], { confirm: "Say it" });
    if (given?.text.trim()) await this.#do({ action: "say", text: given.text.trim() }, "The agent says it.");
  }

  async #mute() {
    const action = this.#muted ? "unmute_assistant" : "mute_assistant";
    await this.#do({ action }, this.#muted ? "The agent is heard again." : "The agent is muted.");
  }

  async #endCall() {
    if (await ask("End this call?", [h("p", {}, "The call ends now. The caller hears the agent's closing words, where it has some.")], { confirm: "End call", danger: true }))
      await this.#do({ action: "hang_up" }, "The call is being ended.");
  }

  async #transfer(call) {
    const names = call.transfer_to ?? [];
    const fields = names.length
      ? [h("fieldset", {}, h("legend", { class: "soft" }, "To whom?"), names.map((name, n) => h("label", {}, h("input", { type: "radio", name: "to", value: name, checked: n === 0 }), " ", name)))]
      : [h("p", { class: "soft" }, "This agent names nobody to transfer to. Add a fallback number or a transfer to the agent file.")];
    const given = await ask("Transfer the call", fields, { confirm: names.length ? "Transfer" : "OK" });
    if (given?.to) await this.#do({ action: "transfer", to: given.to }, `The call goes to ${given.to}.`);
  }

  async #do(order, done) {
    try {
      await this.source.act(order);
      toast(done);
      setTimeout(() => this.onDone(), 300); // the journal is a moment behind
      return true;
    } catch (error) {
      toast(error.detail || error.title || error.message, { bad: true });
      return false;
    }
  }
}

function button(text, onclick, { danger = false, pressed = null, title = null } = {}) {
  return h("button", { type: "button", class: danger ? "danger" : null, "aria-pressed": pressed === null ? null : String(pressed), title, onclick }, text);
}
