// The raw journal: every record, searchable. Rows are only ever appended; those out of sight cost nothing.

import { h, perFrame, setText } from "./dom.js";
import { counted, moment } from "./format.js";

export class Journal {
  records = [];
  #shown = 0;
  #query = "";

  constructor(seek) {
    this.seek = seek;
    this.box = h("input", { type: "search", placeholder: "Search the journal", "aria-label": "Search the journal", oninput: () => this.#searched() });
    this.kinds = h("select", { "aria-label": "Kind of record", onchange: () => this.#searched() },
      ["all kinds", "event", "effect", "phase", "note"].map((kind, n) => h("option", { value: n ? kind : "" }, kind)));
    this.note = h("span", { class: "soft num" });
    this.list = h("ol", { class: "records" });
    this.scroll = h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Records" }, this.list);
    this.element = h("details", { class: "card journal", ontoggle: () => this.draw() }, h("summary", {}, h("h2", {}, "Journal"), this.note),
      h("div", { class: "filters" }, this.box, this.kinds), this.scroll);
    this.draw = perFrame(() => this.#draw());
  }

  get lastSeq() {
    return this.records.length ? this.records.at(-1).seq : -1;
  }

  /** New records; those that are known already are left out. Returns the new ones. */
  add(records) {
    const fresh = records.filter((record) => record.seq > this.lastSeq);
    this.records.push(...fresh);
    setText(this.note, counted(this.records.length, "record"));
    this.draw();
    return fresh;
  }

  #searched() {
    this.#query = this.box.value.trim().toLowerCase();
    this.#shown = 0;
    this.list.replaceChildren();
    this.draw();
  }

  #draw() {
    if (!this.element.open) return;
    const follows = this.scroll.scrollTop + this.scroll.clientHeight > this.scroll.scrollHeight - 30;
    const rows = this.records.slice(this.#shown).filter((record) => this.#matches(record)).map((record) => this.#row(record));
    this.#shown = this.records.length;
    this.list.append(...rows);
    if (follows && rows.length < 100) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  #matches(record) {
    if (this.kinds.value && record.kind !== this.kinds.value) return false;
    return !this.#query || `${record.name} ${record.who} ${record.text} ${JSON.stringify(record.data)}`.toLowerCase().includes(this.#query);
  }

  #row(record) {
    return h("li", {},
      h("button", { type: "button", class: "jump num mono", onclick: () => this.seek(record.at_ms) }, moment(record.at_ms)),
      h("span", { class: "kind", "data-kind": record.kind }, record.kind),
      h("details", {}, h("summary", {}, h("b", {}, record.name), " ", h("span", { class: "soft" }, record.text ?? "")),
        h("pre", {}, JSON.stringify({ seq: record.seq, at: record.at, ...record.data }, null, 1))));
  }
}
