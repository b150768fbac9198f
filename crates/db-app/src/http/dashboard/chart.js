// A line chart of the last five minutes as SVG: axes with units, a legend that doubles as the readout, and a cursor for
// pointer and keyboard. Draws what it is given; keeps no figures and knows nothing of where they come from.

import { NONE, joined } from "./format.js";
import { h, keyed, s, setAttribute, setText } from "./dom.js";

export const SPAN_MS = 300_000;
/** Two readings further apart are not joined by a line: nothing is known of the time between them. */
const GAP_MS = 3_500;
const HEIGHT = 148;
const EDGE = { left: 58, right: 10, top: 8, bottom: 22 };
/** Steps of the cursor, in readings: about a second each. */
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -30, PageUp: 30 };

/**
 * `spec` has `title`, `unit` (in words), `empty` (what to say while there is nothing), `format(value)` giving number and unit,
 * `least` (the axis reaches at least that far), `isWhole` (there are no halves of it), `series`: a list of `name`, `of(point)`, and `area: true` to fill below the line.
 */
export function makeChart(spec) {
  const time = h("span", { class: "time" });
  const values = spec.series.map((_, index) => ({ value: h("span", { class: "value" }), index }));
  const legend = h("ul", { class: "legend" });
  spec.series.forEach(({ name }, index) => {
    const swatch = s("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
    swatch.append(s("path", { class: `line line-${index}`, d: "M1 4h20" }));
    legend.append(h("li", {}, swatch, h("span", {}, name), values[index].value));
  });

  const axes = s("g", { class: "axes" });
  const areas = spec.series.map(({ area }, index) => (area ? s("path", { class: `area area-${index}` }) : null));
  const lines = spec.series.map((_, index) => s("path", { class: `line line-${index}` }));
  const rule = s("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
  const dots = spec.series.map((_, index) => s("circle", { class: `dot dot-${index}`, r: 3.5 }));
  const empty = s("text", { class: "none", y: HEIGHT / 2, "text-anchor": "middle" }, spec.empty);
  const svg = s("svg", { height: HEIGHT, "aria-hidden": "true" });
  svg.append(axes, ...areas.filter(Boolean), ...lines, rule, ...dots, empty);

  const plot = h("div", { class: "plot", tabindex: "0", role: "slider", "aria-orientation": "horizontal" }, svg);
  setAttribute(plot, "aria-label", `${spec.title}, ${spec.unit}: arrow keys read earlier figures`);
  setAttribute(plot, "aria-valuemin", String(-SPAN_MS / 1000));
  setAttribute(plot, "aria-valuemax", "0");
  const caption = h("figcaption", {}, h("h3", {}, spec.title), h("span", { class: "unit" }, spec.unit), time);
  const element = h("figure", { class: "panel chart" }, caption, legend, plot);

  let points = [];
  let now = 0;
  let width = 0;
  /** The time that is read; null follows the newest figures. */
  let cursor = null;

  const x = (at) => EDGE.left + (1 - (now - at) / SPAN_MS) * (width - EDGE.left - EDGE.right);

  function draw() {
    if (width === 0) return;
    const known = points.flatMap((point) => spec.series.map(({ of }) => of(point))).filter((value) => value !== null);
    const ticks = scale(Math.max(...known, spec.least ?? 0), spec.isWhole);
    const top = ticks.at(-1);
    const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    drawAxes(ticks, y);
    spec.series.forEach(({ of }, index) => {
      const runs = runsOf(points, of).map((run) => run.map(([at, value]) => [x(at).toFixed(1), y(value).toFixed(1)]));
      setAttribute(lines[index], "d", runs.map(lineOf).join(""));
      if (areas[index]) setAttribute(areas[index], "d", runs.map((run) => lineOf(run) + floorOf(run, y(0))).join(""));
    });
    setAttribute(empty, "visibility", known.length > 0 ? "hidden" : "visible");
    setAttribute(empty, "x", String((width + EDGE.left) / 2));
    read(y);
  }

  function drawAxes(ticks, y) {
    const right = width - EDGE.right;
    const rows = ticks.map((tick) => ({ key: `y${tick}`, x: EDGE.left - 8, y: y(tick) + 4, text: short(spec.format(tick)), anchor: "end", line: y(tick), right }));
    for (let minute = 5; minute >= 0; minute -= 1) {
      const text = ["now", "−1", "−2", "−3", "−4", "−5 min"][minute];
      const anchor = minute === 0 ? "end" : "middle";
      rows.push({ key: `x${minute}`, x: x(now - minute * 60_000), y: HEIGHT - 5, text, anchor, line: null });
    }
    keyed(axes, rows, (row) => row.key, (row) => {
      const label = s("text", { "text-anchor": row.anchor });
      const line = s("line", { class: "grid" });
      const update = ({ x: left, y: bottom, text, line: at, right: end }) => {
        setAttribute(label, "x", left.toFixed(1));
        setAttribute(label, "y", bottom.toFixed(1));
        setText(label, text);
        if (at !== null) for (const [name, value] of [["x1", EDGE.left], ["x2", end], ["y1", at], ["y2", at]]) setAttribute(line, name, String(value));
      };
      return { element: row.line === null ? label : s("g", {}, line, label), update };
    });
  }

  /** The figures at the cursor, in the legend, beside the line and for a screen reader. */
  function read(y) {
    const point = cursor === null ? points.at(-1) : nearest(points, cursor);
    const isMoved = cursor !== null && point !== undefined;
    const ago = point ? Math.max(0, Math.round((now - point.t) / 1000)) : 0;
    const texts = spec.series.map(({ of }) => (point ? of(point) : null)).map((value) => (value === null ? NONE : joined(spec.format(value))));
    values.forEach(({ value, index }) => setText(value, texts[index]));
    setText(time, isMoved ? `${ago} s ago` : "now");
    setAttribute(plot, "aria-valuenow", String(-ago));
    setAttribute(plot, "aria-valuetext", `${isMoved ? `${ago} s ago` : "now"}: ${spec.series.map(({ name }, index) => `${name} ${texts[index]}`).join(", ")}`);
    element.classList.toggle("reads", isMoved);
    if (!isMoved) return;
    setAttribute(rule, "x1", String(x(point.t)));
    setAttribute(rule, "x2", String(x(point.t)));
    spec.series.forEach(({ of }, index) => {
      const value = of(point);
      setAttribute(dots[index], "visibility", value === null ? "hidden" : "inherit");
      setAttribute(dots[index], "cx", String(x(point.t)));
      if (value !== null) setAttribute(dots[index], "cy", String(y(value)));
    });
  }

  function move(at) {
    cursor = at;
    draw();
  }

  plot.addEventListener("pointermove", ({ clientX }) => {
    const left = clientX - plot.getBoundingClientRect().left - EDGE.left;
    move(now - (1 - left / (width - EDGE.left - EDGE.right)) * SPAN_MS);
  });
  plot.addEventListener("pointerleave", () => move(null));
  plot.addEventListener("blur", () => move(null));
  plot.addEventListener("keydown", (event) => {
    if (points.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = points.length - 1;
    const at = cursor === null ? last : points.indexOf(nearest(points, cursor));
    if (event.key in STEPS) move(points[Math.min(last, Math.max(0, at + STEPS[event.key]))].t);
    else if (event.key === "Home") move(points[0].t);
    else if (event.key === "End" || event.key === "Escape") move(null);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(([entry]) => {
    width = Math.round(entry.contentRect.width);
    setAttribute(svg, "width", String(width));
    draw();
  }).observe(plot);

  return {
    element,
    /** Shows these points (each with its time `t`, oldest first) as of `at`. */
    show(given, at) {
      points = given;
      now = at;
      if (cursor !== null && cursor < now - SPAN_MS) cursor = null;
      draw();
    },
  };
}

/** A round value needs no zeros behind its point. */
const short = ([number, unit]) => joined([number.includes(".") ? number.replace(/\.?0+$/, "") : number, unit]);

/** Three to five round values from zero up to at least `most`. */
export function scale(most, isWhole = false) {
  if (!(most > 0)) return [0, 1];
  const rough = isWhole ? Math.max(1, most / 4) : most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const steps = Math.ceil((most / step) * 0.999);
  return Array.from({ length: steps + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** The known values as runs of `[time, value]`, cut where there is none or too much time between two. */
function runsOf(points, of) {
  const runs = [];
  let before = null;
  for (const point of points) {
    const value = of(point);
    if (value === null) {
      before = null;
      continue;
    }
    if (before === null || point.t - before > GAP_MS) runs.push([]);
    runs.at(-1).push([point.t, value]);
    before = point.t;
  }
  return runs;
}

const lineOf = (run) => `M${run.map((pair) => pair.join(" ")).join("L")}${run.length === 1 ? "h0.1" : ""}`;

const floorOf = (run, floor) => `L${run.at(-1)[0]} ${floor}L${run[0][0]} ${floor}Z`;

function nearest(points, at) {
  return points.reduce((best, point) => (best && Math.abs(best.t - at) <= Math.abs(point.t - at) ? best : point), undefined);
}
