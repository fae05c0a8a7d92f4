// The state diagram, drawn from the rules that the service runs, with the phase of the moment lit and each way counted.
// Places are chosen by hand for the phases that we know; a phase that is new finds room below.

import { h, setAttribute, setText, svg } from "./dom.js";
import { spaced, words } from "./format.js";

const PLACES = { connecting: [78, 30], interrupted: [300, 30], listening: [78, 122], speaking: [300, 122], tool_pending: [189, 204],
  transferring: [78, 284], ended: [300, 284] };
const [WIDTH, HEIGHT, NODE_W, NODE_H] = [378, 316, 112, 34];
const EXITS = new Set(["transferring", "ended"]);
const SHOWN_EXITS = new Set(["transferring>ended", "listening>transferring", "speaking>ended"]);
const NEW_ROW_PX = 60;

export class Diagram {
  #nodes = new Map();
  #edges = new Map();

  constructor({ phases, edges }) {
    this.phases = phases;
    this.places = this.#place(phases);
    const ways = new Map();
    for (const edge of edges) {
      if (edge.stays || edge.from === edge.to) continue;
      const key = `${edge.from}>${edge.to}`;
      if (!ways.has(key)) ways.set(key, { from: edge.from, to: edge.to, events: [] });
      ways.get(key).events.push(edge.event);
    }
    const lines = svg("g");
    const boxes = svg("g");
    for (const [key, way] of ways) lines.append(this.#edge(key, way, ways.has(`${way.to}>${way.from}`)));
    for (const phase of phases) boxes.append(this.#node(phase));
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${this.height}`, role: "img", "aria-label": "State diagram" }, arrowheads(), lines, boxes);
    this.element = h("figure", { class: "diagram" }, this.picture);
  }

  /** Light what has happened so far. `changes`: [{from, to}] in order; the last one is where the call is. */
  light(changes, phase) {
    const counts = new Map();
    for (const { from, to } of changes) counts.set(`${from}>${to}`, (counts.get(`${from}>${to}`) ?? 0) + 1);
    const last = changes.length ? `${changes.at(-1).from}>${changes.at(-1).to}` : "";
    for (const [key, edge] of this.#edges) {
      const count = counts.get(key) ?? 0;
      setAttribute(edge.group, "data-taken", count > 0);
      setAttribute(edge.group, "data-last", key === last);
      setText(edge.count, count ? String(count) : "");
      setAttribute(edge.badge, "visibility", count ? null : "hidden");
    }
    const seen = new Set(changes.flatMap(({ from, to }) => [from, to]));
    for (const [name, node] of this.#nodes) {
      setAttribute(node, "data-now", name === phase);
      setAttribute(node, "data-seen", seen.has(name) || name === phase);
    }
    this.picture.setAttribute("aria-label", `State diagram. Phase now: ${words(phase)}. ${changes.length} changes so far.`);
  }

  #place(phases) {
    const places = new Map(phases.filter((phase) => phase in PLACES).map((phase) => [phase, PLACES[phase]]));
    const unknown = phases.filter((phase) => !(phase in PLACES));
    unknown.forEach((phase, n) => places.set(phase, [n % 2 ? 300 : 78, HEIGHT + 10 + Math.floor(n / 2) * NEW_ROW_PX]));
    this.height = HEIGHT + Math.ceil(unknown.length / 2) * NEW_ROW_PX;
    return places;
  }

  #node(phase) {
    const [x, y] = this.places.get(phase);
    const node = svg("g", { class: "node", "data-phase": phase, transform: `translate(${x - NODE_W / 2} ${y - NODE_H / 2})` },
      svg("rect", { width: NODE_W, height: NODE_H, rx: 8 }), svg("text", { x: NODE_W / 2, y: NODE_H / 2 + 1 }, words(phase)));
    this.#nodes.set(phase, node);
    return node;
  }

  #edge(key, { from, to, events }, both) {
    const [a, b] = [this.places.get(from), this.places.get(to)];
    const bend = both ? 13 : EXITS.has(to) && from !== "transferring" ? -18 : 0;
    const { path, middle } = curve(a, b, bend);
    const quiet = EXITS.has(to) && !SHOWN_EXITS.has(key);
    const badge = svg("rect", { x: middle[0] - 11, y: middle[1] - 9, width: 22, height: 18, rx: 9 });
    const count = svg("text", { x: middle[0], y: middle[1] + 1 });
    const group = svg("g", { class: "edge", "data-quiet": quiet, "data-to": to },
      svg("title", {}, `${words(from)} → ${words(to)}: ${[...new Set(events)].map(spaced).join(", ")}`),
      svg("path", { d: path, class: "wide" }), svg("path", { d: path, class: "thin", "marker-end": "url(#arrow)" }),
      svg("g", { class: "badge" }, badge, count));
    const made = { group, count, badge };
    setAttribute(badge, "visibility", "hidden");
    this.#edges.set(key, made);
    return group;
  }
}

function arrowheads() {
  return svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 6.6, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
    svg("path", { d: "M0 0.6 7.4 4 0 7.4z", class: "head" })));
}

/** A curve from border to border, bent to the left of its way by `bend`. */
function curve(a, b, bend) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const long = Math.hypot(dx, dy) || 1;
  const side = [(-dy / long) * bend, (dx / long) * bend];
  const [from, to] = [border(a, dx, dy, side), border(b, -dx, -dy, side)];
  const control = [(from[0] + to[0]) / 2 + side[0], (from[1] + to[1]) / 2 + side[1]];
  const middle = [0.25 * from[0] + 0.5 * control[0] + 0.25 * to[0], 0.25 * from[1] + 0.5 * control[1] + 0.25 * to[1]];
  const text = (point) => point.map((n) => n.toFixed(1)).join(" ");
  return { path: `M${text(from)} Q${text(control)} ${text(to)}`, middle };
}

/** Where a line from a node's middle leaves its box, moved aside for a pair of ways. */
function border([x, y], dx, dy, [sx, sy]) {
  const [ax, ay] = [sx * 0.7, sy * 0.7];
  const across = (half, aside, d) => (half + 3 - aside * Math.sign(d)) / (Math.abs(d) || 1e-6);
  const reach = Math.min(across(NODE_W / 2, ax, dx), across(NODE_H / 2, ay, dy));
  return [x + ax + dx * reach, y + ay + dy * reach];
}
