// The last five minutes, kept by the browser alone, and the charts that show them.

import { SPAN_MS, makeChart } from "./chart.js";
import { byId, setHidden } from "./dom.js";
import { count, digits, ms } from "./format.js";
import { most } from "./panels.js";

const points = [];
const charts = [];
let lag = null;
let lagNames = "";

const millis = (value) => (value === 0 ? ["0", "ms"] : ms(value));
const sum = (pools, of) => pools.reduce((total, pool) => total + of(pool), 0);

const SPECS = [
  {
    title: "Throughput",
    unit: "operations per second",
    empty: "No figures yet",
    format: (value) => [digits(value), "/s"],
    series: [{ name: "operations", of: ({ live }) => live.window.per_second, area: true }],
  },
  {
    title: "Latency",
    unit: "time of an operation",
    empty: "No operations yet",
    format: millis,
    series: ["p50", "p95", "p99"].map((name) => ({
      name,
      of: ({ live }) => (live.window.operations === 0 ? null : (live.window[`${name}_ms`] ?? null)),
    })),
  },
  {
    title: "Pool use",
    unit: "connections, all pools",
    empty: "No figures yet",
    isWhole: true,
    format: (value) => [count(value), ""],
    series: [
      { name: "in use", of: ({ live }) => sum(live.pools, (pool) => pool.in_use), area: true },
      { name: "waiting", of: ({ live }) => sum(live.pools, (pool) => pool.waiting) },
      { name: "maximum", of: ({ live }) => sum(live.pools, (pool) => pool.max) },
    ],
  },
  {
    title: "Wait for a connection",
    unit: "all pools, the last minute",
    empty: "Nobody has asked for one yet",
    format: millis,
    series: ["p50", "p99"].map((name) => ({ name, of: ({ live }) => live.window[`wait_${name}_ms`] })),
  },
];

export function remember(live) {
  const t = Date.parse(live.at);
  // A clock that was set back would draw lines backwards.
  if (points.length > 0 && t <= points.at(-1).t) points.length = 0;
  points.push({ t, live });
  while (points[0].t < t - SPAN_MS) points.shift();
}

export function forget() {
  points.length = 0;
}

export function showCharts(live) {
  if (charts.length === 0) {
    charts.push(...SPECS.map(makeChart));
    byId("charts").append(...charts.map(({ element }) => element));
  }
  const now = Date.parse(live.at);
  for (const chart of charts) chart.show(points, now);
  showLag(live.servers, now);
}

function showLag(servers, now) {
  setHidden(byId("lag"), servers.length === 0);
  const names = servers.map(({ name }) => name).sort();
  if (names.length === 0) return;
  // The lines are the servers: others make another chart.
  if (lagNames !== names.join(" ")) {
    lagNames = names.join(" ");
    const series = names.map((name) => ({ name, of: ({ live }) => live.servers.find((server) => server.name === name)?.lag_ms ?? null }));
    lag = makeChart({ title: "Replica lag", unit: "behind the primary", empty: "No replica is measured", format: millis, series });
    byId("lag").replaceChildren(lag.element);
  }
  lag.show(points, now);
}
