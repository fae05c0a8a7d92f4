// Small charts by hand: SVG in real pixels, so that text stays text. Each is redrawn when its width changes.

import { h, svg } from "./dom.js";

const AXIS = { left: 40, right: 10, top: 8, bottom: 22 };

/** A round number at or above the most, and the steps to it. */
export function ticks(most, wanted = 4) {
  if (!(most > 0)) return [0, 1];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough && (most > 3 ? true : one * 4 >= 1)) ?? rough;
  const whole = Number.isInteger(most) && step < 1 ? 1 : step;
  const found = [];
  for (let at = 0; ; at += whole) {
    found.push(Number(at.toPrecision(12)));
    if (at >= most) return found;
  }
}

/**
 * A picture with the same facts as a table behind it.
 * @param draw (width) => SVG element
 * @param table () => table element
 * @param label what a screen reader says instead of the picture
 */
export function figure({ draw, table, label, height }) {
  const picture = h("div", { class: "picture", role: "img", "aria-label": label });
  picture.style.setProperty("--h", `${height}px`);
  const rows = h("div", { class: "scroll tall behind", hidden: true, tabindex: "0", role: "region", "aria-label": `${label}, as a table` });
  const button = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => turn() }, "Table");
  let shown = 0;
  const redraw = () => {
    const width = Math.round(picture.clientWidth);
    if (!width || width === shown) return;
    shown = width;
    picture.replaceChildren(draw(width));
  };
  const watch = new ResizeObserver(redraw);
  watch.observe(picture);
  function turn() {
    const asTable = rows.hidden;
    if (asTable && !rows.firstChild) rows.append(table());
    rows.hidden = !asTable;
    picture.hidden = asTable;
    button.setAttribute("aria-pressed", String(asTable));
  }
  return { element: h("div", {}, picture, rows), button, stop: () => watch.disconnect() };
}

/** Rows as a table. A cell is a text or an element; `right` are the columns of numbers. */
export function table(heads, rows, { right = [], caption = null } = {}) {
  const side = (index) => (right.includes(index) ? "right num" : null);
  return h("table", {}, caption ? h("caption", { class: "unseen" }, caption) : null,
    h("thead", {}, h("tr", {}, heads.map((head, index) => h("th", { scope: "col", class: side(index) }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) => h("td", { class: side(index) }, cell))))));
}

function frame(width, height, most, format, marks = null) {
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const [top, bottom] = [AXIS.top, height - AXIS.bottom];
  const lines = marks ?? ticks(most);
  const highest = lines.at(-1);
  const y = (value) => bottom - (value / highest) * (bottom - top);
  for (const line of lines) {
    root.append(svg("line", { class: "grid", x1: AXIS.left, x2: width - AXIS.right, y1: y(line), y2: y(line) }),
      svg("text", { class: "tick end", x: AXIS.left - 6, y: y(line) + 4 }, format(line)));
  }
  return { root, y, bottom, left: AXIS.left, right: width - AXIS.right };
}

/**
 * Stacked bars over time.
 * @param bars [{label, tick, title, href, parts: [[key, value]]}]; `tick` is the text below it, or nothing
 */
export function stackedBars({ width, height, bars, tone, navigate }) {
  const most = Math.max(1, ...bars.map((bar) => bar.parts.reduce((sum, [, value]) => sum + value, 0)));
  const { root, y, bottom, left, right } = frame(width, height, most, String);
  const step = (right - left) / Math.max(1, bars.length);
  const wide = Math.max(1, Math.min(46, step * 0.78));
  let free = -Infinity; // labels that would touch are left out
  bars.forEach((bar, index) => {
    const middle = left + step * (index + 0.5);
    let at = 0;
    const group = svg("g", { class: bar.href ? "bar-group" : null, "data-href": bar.href }, svg("title", {}, bar.title));
    group.append(svg("rect", { class: "hit", x: left + step * index, width: step, y: AXIS.top, height: bottom - AXIS.top }));
    for (const [key, value] of bar.parts) {
      if (!value) continue;
      group.append(svg("rect", { [`data-${tone}`]: key, x: middle - wide / 2, width: wide, y: y(at + value), height: Math.max(1, y(at) - y(at + value)) }));
      at += value;
    }
    root.append(group);
    if (bar.tick && middle - bar.tick.length * 3.2 > free) {
      root.append(svg("text", { class: "tick", x: Math.min(Math.max(middle, left + 12), right - 14), y: bottom + 16 }, bar.tick));
      free = middle + bar.tick.length * 3.2 + 10;
    }
  });
  root.addEventListener("click", (event) => {
    const href = event.target.closest("[data-href]")?.getAttribute("data-href");
    if (href) navigate(href);
  });
  return root;
}

/** Bars side by side, with upright lines at named values. `at`: value → share of the width, 0 to 1. */
export function histogram({ width, height, bins, at, marks, format }) {
  const most = Math.max(1, ...bins.map((bin) => bin.count));
  const { root, y, bottom, left, right } = frame(width, height, most, String);
  const step = (right - left) / bins.length;
  bins.forEach((bin, index) => {
    const x = left + step * index;
    root.append(svg("g", {}, svg("title", {}, `${bin.label}: ${bin.count}`),
      svg("rect", { class: "hit", x, width: step, y: AXIS.top, height: bottom - AXIS.top }),
      svg("rect", { "data-tone": bin.tone, x: x + 1, width: Math.max(1, step - 2), y: y(bin.count), height: bottom - y(bin.count) })));
    if (index % Math.ceil(34 / step) === 0) root.append(svg("text", { class: "tick", x: x + 1, y: bottom + 16 }, bin.tick));
  });
  let lastX = -Infinity;
  marks.filter((mark) => mark.value !== null).forEach((mark, index) => {
    const x = left + at(mark.value) * (right - left);
    const low = x - lastX < 96 ? 14 * (index % 3) : 0;
    const turned = x > right - 90;
    root.append(svg("line", { class: "mark", x1: x, x2: x, y1: AXIS.top, y2: bottom }),
      svg("text", { class: turned ? "mark-text end" : "mark-text", x: turned ? x - 4 : x + 4, y: AXIS.top + 11 + low }, `${mark.name} ${format(mark.value)}`));
    lastX = x;
  });
  return root;
}

/** Lines over time; where there is no value the line is broken. series: [{tone, values}] */
export function lines({ width, height, labels, titles, series, format }) {
  const most = Math.max(1, ...series.flatMap((one) => one.values.filter((value) => value !== null)));
  const { root, y, bottom, left, right } = frame(width, height, most, format);
  const step = (right - left) / Math.max(1, labels.length);
  const x = (index) => left + step * (index + 0.5);
  for (const one of series) {
    let path = "";
    let before = false;
    one.values.forEach((value, index) => {
      if (value !== null) path += `${before ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      before = value !== null;
    });
    root.append(svg("path", { class: "line", "data-tone": one.tone, d: path }));
    one.values.forEach((value, index) => {
      const alone = value !== null && (one.values[index - 1] ?? null) === null && (one.values[index + 1] ?? null) === null;
      if (value !== null && (step > 14 || alone)) root.append(svg("circle", { class: "dot", "data-tone": one.tone, cx: x(index), cy: y(value), r: 2.6 }));
    });
  }
  let free = -Infinity;
  labels.forEach((label, index) => {
    root.append(svg("rect", { class: "hit", x: x(index) - step / 2, width: step, y: AXIS.top, height: bottom - AXIS.top }, svg("title", {}, titles[index])));
    if (label && x(index) - label.length * 3.2 > free) {
      root.append(svg("text", { class: "tick", x: Math.min(Math.max(x(index), left + 12), right - 14), y: bottom + 16 }, label));
      free = x(index) + label.length * 3.2 + 10;
    }
  });
  return root;
}

/** Seven days of twenty-four hours; the fuller the square, the more calls. */
export function heatmap({ width, days, cells, most }) {
  const left = 40;
  const step = (width - left - 8) / 24;
  const tall = Math.min(22, Math.max(13, step));
  const height = days.length * tall + 24;
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  days.forEach((day, row) => {
    root.append(svg("text", { class: "tick end", x: left - 6, y: row * tall + tall / 2 + 4 }, day));
    for (let hour = 0; hour < 24; hour++) {
      const calls = cells[row][hour];
      root.append(svg("rect", { class: "cell", x: left + hour * step + 1, y: row * tall + 1, width: step - 2, height: tall - 2, rx: 2.5,
        "fill-opacity": calls ? (0.18 + 0.82 * (calls / most)).toFixed(3) : 0, "data-none": calls ? null : "" },
      svg("title", {}, `${day} ${hour}:00 to ${hour + 1}:00: ${calls}`)));
    }
  });
  for (let hour = 0; hour < 24; hour += step < 16 ? 6 : 3) {
    root.append(svg("text", { class: "tick", x: left + (hour + 0.5) * step, y: height - 6 }, String(hour)));
  }
  return root;
}
