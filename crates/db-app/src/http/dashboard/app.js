// The page at work: connects, shows what comes, says when nothing comes, and asks for the token when it must.

import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { clock, count, joined, span } from "./format.js";
import { forget, remember, showCharts } from "./history.js";
import { showPanels } from "./panels.js";
import { follow } from "./stream.js";

const TOKEN_KEY = "db-token";
const WORDS = { healthy: "Healthy", degraded: "Degraded", unhealthy: "Unhealthy", unknown: "No connection" };
const COLOURS = { healthy: "%231a7f4b", degraded: "%23b7791f", unhealthy: "%23c62828", unknown: "%23748091" };
const SHAPES = {
  healthy: "%3Ccircle cx='8' cy='8' r='7'/%3E",
  degraded: "%3Cpath d='M8 1l8 14H0z'/%3E",
  unhealthy: "%3Cpath d='M5 0h6l5 5v6l-5 5H5l-5-5V5z'/%3E",
  unknown: "%3Ccircle cx='8' cy='8' r='5'/%3E",
};

let token = storage(() => sessionStorage.getItem(TOKEN_KEY)) ?? null;
/** The newest message, null before the first. */
let live = null;
/** Why and until when there is no connection; null while there is one. */
let lost = null;
let isPaused = false;
let isPlanned = false;

/** Without storage the token is kept by the page alone. */
function storage(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

const stream = follow("api/live", {
  token: () => token,
  message(figures) {
    live = figures;
    lost = null;
    remember(figures);
    if (token !== null) storage(() => sessionStorage.setItem(TOKEN_KEY, token));
    openGate(false);
    setHidden(byId("lost"), true);
    showTitle(figures.status);
    plan();
  },
  refused() {
    lost = null;
    setText(byId("gate-error"), token === null ? "" : "The service refused this token.");
    setAttribute(byId("token"), "aria-invalid", String(token !== null));
    dropToken();
    showTitle("unknown");
    openGate(true);
  },
  lost(reason, retryAt) {
    lost = { reason, retryAt };
    showTitle("unknown");
    showLost();
    showOverall();
  },
});

/** Draws once a frame at most, and not at all while nobody looks: browsers hold back frames of hidden pages. */
function plan() {
  if (isPaused || isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    if (isPaused || live === null) return;
    setHidden(byId("figures"), false);
    showOverall();
    showPanels(live);
    showCharts(live);
  });
}

function showOverall() {
  const status = lost ? "unknown" : live.status;
  setAttribute(byId("overall"), "data-status", status);
  setAttribute(byId("overall-icon"), "href", `#i-${status}`);
  setText(byId("overall-status"), !lost && live.shutting_down ? "Shutting down" : WORDS[status]);
  setText(byId("overall-text"), lost ? lastKnown() : summary());
  document.body.classList.toggle("stale", lost !== null);
  if (live === null) return;
  setText(byId("updated"), clock(live.at) + (isPaused ? ", paused" : ""));
  setText(byId("uptime"), span(live.uptime_s));
  setText(byId("version"), live.version ? `PostgreSQL ${live.version.split(" ")[0]}` : "–");
  setText(byId("environment"), live.environment);
  setText(byId("origin"), live.origin);
}

const lastKnown = () => (live ? `Last seen ${live.status} at ${clock(live.at)}.` : "Nothing is known yet.");

function summary() {
  const ill = live.components.filter(({ status }) => status !== "healthy");
  if (ill.length === 0) return `All ${joined([count(live.components.length), "components"])} are well.`;
  return ill.map(({ name, status, reason }) => `${name}: ${(reason ?? status).replaceAll("_", " ")}`).join("; ");
}

function showLost() {
  setHidden(byId("lost"), lost === null);
  if (lost === null) return;
  setText(byId("lost-title"), "Connection to the service lost.");
  const seconds = Math.max(0, Math.ceil((lost.retryAt - Date.now()) / 1000));
  const since = live ? ` Figures are from ${clock(live.at)}.` : "";
  setText(byId("lost-text"), `${lost.reason}${since} ${seconds > 0 ? `Next try in ${joined([String(seconds), "s"])}.` : "Trying again."}`);
}
setInterval(showLost, 500);

function showTitle(status) {
  document.title = `${WORDS[status]} · Database`;
  const icon = `data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${COLOURS[status]}'%3E${SHAPES[status]}%3C/svg%3E`;
  setAttribute(byId("icon"), "href", icon);
}

function openGate(isOpen) {
  const gate = byId("gate");
  setHidden(byId("forget"), isOpen || token === null);
  if (gate.hidden === !isOpen) return;
  gate.hidden = !isOpen;
  setHidden(byId("overall"), isOpen);
  setHidden(byId("pause"), isOpen);
  if (isOpen) {
    live = null;
    forget();
    setHidden(byId("figures"), true);
    setHidden(byId("lost"), true);
    setText(byId("origin"), "");
    byId("token").focus();
  } else {
    byId("token").value = "";
    setText(byId("gate-error"), "");
    byId("content").focus();
  }
}

function dropToken() {
  token = null;
  storage(() => sessionStorage.removeItem(TOKEN_KEY));
}

byId("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = byId("token").value.trim();
  // Anything else cannot be sent in a header, so it cannot be the token.
  if (!/^[\x20-\x7e]+$/.test(given)) {
    setText(byId("gate-error"), "A token has plain letters, digits and signs only.");
    setAttribute(byId("token"), "aria-invalid", "true");
    return;
  }
  setText(byId("gate-error"), "");
  token = given;
  stream.again();
});

byId("forget").addEventListener("click", () => {
  dropToken();
  setHidden(byId("forget"), true);
  byId("content").focus();
  stream.again();
});

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  setText(byId("pause"), isPaused ? "Go on" : "Pause");
  if (live !== null) showOverall();
  plan();
});

byId("again").addEventListener("click", () => stream.again());
addEventListener("online", () => stream.wake());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) stream.wake();
});
