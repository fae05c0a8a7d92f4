// A keyed list of rows, newest first: a change touches one row, whatever the number of the others.

import { asDate } from "./format.js";
import { Row } from "./row.js";

export class RowSet {
  #rows = new Map();

  constructor(list) {
    this.list = list;
  }

  get size() {
    return this.#rows.size;
  }

  get shown() {
    return this.list.childElementCount - this.list.querySelectorAll(":scope > li[hidden]").length;
  }

  has(id) {
    return this.#rows.has(id);
  }

  set(call) {
    const row = this.#rows.get(call.id);
    if (row) {
      row.set({ ...row.call, ...call });
      return row;
    }
    const fresh = new Row(call);
    this.#rows.set(call.id, fresh);
    this.#place(fresh);
    return fresh;
  }

  /** Exactly these calls, as after a reload; rows that stay keep their focus. */
  replace(calls) {
    const wanted = new Set(calls.map((call) => call.id));
    for (const id of [...this.#rows.keys()]) if (!wanted.has(id)) this.remove(id);
    for (const call of calls) this.set(call);
  }

  remove(id) {
    const row = this.#rows.get(id);
    if (!row) return null;
    if (row.link === document.activeElement) (row.element.nextElementSibling ?? row.element.previousElementSibling)?.firstElementChild.focus();
    row.element.remove();
    this.#rows.delete(id);
    return row.call;
  }

  tick(now) {
    for (const row of this.#rows.values()) if (!row.element.hidden) row.tick(now);
  }

  filter(query) {
    for (const row of this.#rows.values()) row.element.hidden = !row.matches(query);
  }

  #place(row) {
    const at = asDate(row.call.began_at).getTime();
    for (const other of this.list.children) {
      if (asDate(other.began).getTime() <= at) {
        other.before(row.element);
        row.element.began = row.call.began_at;
        return;
      }
    }
    row.element.began = row.call.began_at;
    this.list.append(row.element);
  }
}
