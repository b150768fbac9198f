// The panels of the page: from one message of `api/live` to what is read. Each panel updates what is there.

import { byId, h, icon, keyed, setAttribute, setHidden, setIcon, setText, textRow } from "./dom.js";
import { NONE, bytes, clock, count, counted, digits, joined, ms, percent } from "./format.js";
import { meaning } from "./sqlstate.js";

export function showPanels(live) {
  showTiles(live);
  showAlerts(live);
  showComponents(live);
  showPools(live.pools);
  showErrors(live);
  showRetries(live);
  showServers(live.servers);
  showSlow(live.slow);
  showMigrations(live.migrations);
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

/** A percentile with its name. */
const named = (name, value) => joined([name, joined(ms(value))]);

/** The largest of figures that may be unknown. */
export function most(items, of) {
  const known = items.map(of).filter((value) => typeof value === "number");
  return known.length > 0 ? Math.max(...known) : null;
}

function showTiles({ window: last, pools }) {
  const isIdle = last.operations === 0;
  const over = `in ${joined([count(last.seconds), "s"])}`;
  const used = sum(pools, (pool) => pool.in_use);
  const waiting = sum(pools, (pool) => pool.waiting);
  const tiles = [
    ["Throughput", [digits(last.per_second), "op/s"], `${counted(last.operations, "operation")} ${over}`],
    ["Latency, p95", ms(isIdle ? null : last.p95_ms), isIdle ? "no operations yet" : [named("p50", last.p50_ms), named("p99", last.p99_ms)].join(" · ")],
    ["Error rate", percent(last.error_rate), `${counted(last.errors, "error")} ${over}`],
    ["Connections in use", [count(used), `of ${count(sum(pools, (pool) => pool.max))}`], `${count(waiting)} waiting`],
    ["Pool wait, p99", ms(last.wait_p99_ms), named("p50", last.wait_p50_ms)],
    ["Retries", [count(last.retries), ""], `${count(last.gave_up)} given up`],
  ];
  keyed(byId("tiles"), tiles, ([name]) => name, ([name]) => {
    const number = h("span", { class: "number" });
    const unit = h("span", { class: "unit" });
    const note = h("span", { class: "note muted" });
    const update = ([, [value, of], below]) => {
      setText(number, value);
      setText(unit, of);
      setText(note, below);
    };
    return { element: h("div", { class: "tile panel" }, h("dt", {}, name), h("dd", {}, number, " ", unit, note)), update };
  });
}

function showAlerts({ alerts, recommendations }) {
  // Those that are quiet are only counted.
  const loud = alerts.filter(({ state }) => state !== "ok").sort((one, other) => (other.state === "firing") - (one.state === "firing"));
  keyed(byId("alerts"), loud, (alert) => alert.name, () => {
    const sign = icon("degraded");
    const name = h("strong");
    const state = h("span", { class: "tag" });
    const text = h("p");
    const note = h("p", { class: "muted small" });
    const update = (alert) => {
      const isFiring = alert.state === "firing";
      setIcon(sign, isFiring ? "degraded" : "unknown");
      setAttribute(sign, "data-status", isFiring ? "degraded" : "unknown");
      setText(name, alert.name.replaceAll("_", " "));
      setText(state, alert.state);
      setText(text, alert.text ?? "");
      const [value, threshold] = [alert.value, alert.threshold].map((figure) => joined([digits(figure), alert.unit]));
      setText(note, `${value}, threshold ${threshold}${alert.since ? `, since ${clock(alert.since)}` : ""}`);
    };
    return { element: h("li", { class: "row" }, sign, h("div", {}, h("p", { class: "head" }, name, state), text, note)), update };
  });
  keyed(byId("advice"), recommendations, (text) => text, () => {
    const text = h("p");
    return { element: h("li", { class: "row advice" }, h("div", {}, text)), update: (given) => setText(text, given) };
  });
  const quiet = alerts.length > 0 ? `None of ${count(alerts.length)} alerts fires` : "No alert fires";
  setText(byId("alerts-none"), recommendations.length > 0 ? `${quiet}.` : `${quiet}, and there is nothing to advise.`);
  setHidden(byId("alerts-none"), loud.length > 0);
}

/** The sign, name and word of one node of the tree. */
function node() {
  const sign = icon("unknown");
  const name = h("span", { class: "label" });
  const word = h("span", { class: "status" });
  const update = (title, status) => {
    setIcon(sign, status);
    setAttribute(sign, "data-status", status);
    setAttribute(word, "data-status", status);
    setText(name, title);
    setText(word, status);
  };
  return { parts: [sign, name], word, update };
}

let root = null;

function showComponents({ status, components }) {
  if (!root) {
    root = node();
    document.querySelector("#tree-root > .node").append(...root.parts, root.word);
  }
  root.update("Service", status);
  showBranch(byId("components"), components, null);
}

/** The components below one of them; those whose parent is not there stand at the top. */
function showBranch(list, components, parent) {
  const names = components.map(({ name }) => name);
  const above = ({ part_of: of }) => (names.includes(of) ? of : null);
  const below = components.filter((component) => above(component) === parent && component.name !== parent);
  const items = below.map((component) => ({ component, components }));
  keyed(list, items, ({ component }) => component.name, () => {
    const { parts, word, update: updateNode } = node();
    const tag = h("span", { class: "tag" }, "critical");
    const reason = h("p", { class: "reason" });
    const note = h("p", { class: "muted small" });
    const branch = h("ul", { class: "rows" });
    const update = ({ component, components: all }) => {
      updateNode(component.name, component.status);
      setHidden(tag, !component.critical);
      const why = [component.reason?.replaceAll("_", " "), component.message].filter(Boolean);
      setText(reason, [...new Set(why)].join(": "));
      setHidden(reason, why.length === 0);
      const seen = typeof component.age_ms === "number" ? `checked ${joined(ms(component.age_ms))} ago` : "not checked yet";
      const took = component.latency_ms > 0 ? `, took ${joined(ms(component.latency_ms))}` : "";
      setText(note, seen + took);
      showBranch(branch, all, component.name);
      setHidden(branch, branch.children.length === 0);
    };
    return { element: h("li", {}, h("div", { class: "node" }, ...parts, tag, word), reason, note, branch), update };
  });
}

function showPools(pools) {
  setHidden(byId("pools-none"), pools.length > 0);
  keyed(byId("pools"), pools, (pool) => pool.name, () => {
    const name = h("strong");
    const paused = h("span", { class: "tag" }, "paused");
    const used = h("span", { class: "used" });
    const idle = h("span", { class: "idle" });
    const bar = h("div", { class: "bar", role: "img" }, used, idle);
    const share = h("span", { class: "share" });
    const cells = ["In use", "Idle", "Waiting", "Maximum", "On lanes"].map((title) => ({ title, value: h("dd") }));
    const list = h("dl", { class: "cells" }, ...cells.map(({ title, value }) => h("div", { class: title.replace(" ", "-").toLowerCase() }, h("dt", {}, title), value)));
    const note = h("p", { class: "muted small" });
    const update = (pool) => {
      setText(name, pool.name);
      setHidden(paused, !pool.paused);
      setText(share, joined(percent(pool.utilization)));
      const part = (amount) => `${Math.min(100, (100 * amount) / Math.max(1, pool.max))}%`;
      used.style.width = part(pool.in_use);
      idle.style.width = part(pool.idle);
      setAttribute(bar, "aria-label", `${pool.in_use} in use and ${pool.idle} idle of at most ${pool.max}`);
      [pool.in_use, pool.idle, pool.waiting, pool.max, pool.on_lanes].forEach((value, index) => setText(cells[index].value, count(value)));
      list.classList.toggle("waits", pool.waiting > 0);
      setText(note, `${count(pool.opened)} connections opened, ${count(pool.closed)} closed`);
    };
    return { element: h("li", { class: "pool" }, h("p", { class: "head" }, name, paused, share), bar, list, note), update };
  });
}

function showErrors({ errors, window: last }) {
  setText(byId("errors-none"), `No error in the last ${joined([count(last.seconds), "s"])}.`);
  setHidden(byId("errors-none"), errors.length > 0);
  const largest = Math.max(...errors.map((error) => error.count));
  const items = errors.map((error) => ({ ...error, share: (100 * error.count) / largest }));
  keyed(byId("errors"), items, (error) => error.code, () => {
    const code = h("code");
    const words = h("span", { class: "muted" });
    const number = h("span", { class: "number" });
    const fill = h("span", { class: "failed" });
    const update = (error) => {
      setText(code, error.code);
      setText(words, meaning(error.code));
      setText(number, count(error.count));
      fill.style.width = `${error.share}%`;
    };
    return { element: h("li", { class: "error-row" }, code, words, number, h("div", { class: "bar thin", "aria-hidden": "true" }, fill)), update };
  });
}

/** A list of names and figures. */
function showList(parent, entries) {
  keyed(parent, entries, ([name]) => name, ([name]) => {
    const value = h("dd");
    return { element: h("div", {}, h("dt", {}, name), value), update: ([, text]) => setText(value, text) };
  });
}

function showRetries({ window: last, pools }) {
  showList(byId("retries"), [
    ["Calls repeated", count(last.retries)],
    ["Calls given up", count(last.gave_up)],
    ["Connections that failed to open", count(last.connect_failures)],
    ["Average of an operation", joined(ms(last.operations === 0 ? null : last.average_ms))],
    ["Connections opened since the start", count(sum(pools, (pool) => pool.opened))],
    ["Connections closed since the start", count(sum(pools, (pool) => pool.closed))],
  ]);
}

function showServers(servers) {
  setHidden(byId("servers-none"), servers.length > 0);
  setHidden(byId("servers-scroll"), servers.length === 0);
  keyed(byId("servers"), servers, (server) => server.name, () =>
    textRow([
      ["", (server) => server.name],
      ["", (server) => (server.drained ? `${server.state}, drained` : server.state)],
      ["number", (server) => joined(ms(server.lag_ms))],
      ["number", (server) => joined(bytes(server.lag_bytes))],
      ["number", (server) => joined(ms(server.latency_ms))],
      ["number", (server) => count(server.in_flight)],
      ["number", (server) => count(server.served)],
      ["", (server) => [server.reason?.replaceAll("_", " "), server.error].filter(Boolean).join(": ") || NONE],
    ]),
  );
}

function showSlow(slow) {
  setHidden(byId("slow-none"), slow.length > 0);
  setHidden(byId("slow-scroll"), slow.length === 0);
  keyed(byId("slow"), slow, ({ at, statement }) => at + statement, () =>
    textRow([
      ["when", ({ at }) => clock(at)],
      ["number", ({ took_ms: took }) => joined(ms(took))],
      ["statement", ({ statement }) => statement],
    ]),
  );
}

function showMigrations(migrations) {
  const last = migrations?.last ?? [];
  const text = migrations
    ? `${count(migrations.applied)} applied, ${count(migrations.pending)} pending${migrations.newest ? `, newest ${migrations.newest}` : ""}`
    : "This service runs no migrations.";
  setText(byId("migrations-text"), text);
  keyed(byId("migrations"), last, ({ version }) => version, () => {
    const name = h("span", { class: "label" });
    const status = h("span", { class: "share" });
    const note = h("p", { class: "muted small" });
    const update = (migration) => {
      setText(name, `${migration.version} ${migration.name}`);
      setText(status, migration.status);
      setText(note, `${migration.at ? clock(migration.at) : "not yet"}, took ${joined(ms(migration.took_ms))}`);
    };
    return { element: h("li", {}, h("p", { class: "head" }, name, status), note), update };
  });
}
