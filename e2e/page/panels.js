// What the panels show of a message that no healthy server sends: a tree, errors, lag, and text that would be markup. The body of a
// function that gives a promise of the differences as texts. The page must be paused, so that it draws nothing itself.

const evil = "<img src=x onerror=alert(1)>";
const component = (name, of, status) => ({ name, part_of: of, status, critical: true, service: false, reason: null, message: null, latency_ms: 1, age_ms: 2 });
const server = (name, state, lag) => ({ name, state, reason: null, drained: false, lag_bytes: 18_432, lag_ms: lag, in_flight: 0, latency_ms: 1, served: 5, timeline: 1, error: evil });
const first = {
  components: [component("postgres", null, "healthy"), component("role", "postgres", "healthy"), component("lonely", "nobody", "healthy")],
  errors: [{ code: "23505", count: 10 }, { code: "40001", count: 5 }],
  servers: [server("a:5432", "primary", null), server("b:5432", "replica", 12.5)],
  slow: [{ at: "2026-01-01T00:00:00Z", took_ms: 1234.5, statement: evil }],
  recommendations: [evil],
  alerts: [{ name: "error_rate", state: "firing", since: null, value: 7, threshold: 5, unit: "%", text: evil }],
};
const second = {
  ...first,
  components: [component("postgres", null, "healthy"), component("role", "postgres", "degraded"), component("lonely", "nobody", "healthy")],
  errors: [{ code: "40001", count: 40 }, { code: "23505", count: 10 }],
};

return Promise.all([
  import(`${location.origin}/dashboard/panels.js`),
  fetch(`${location.origin}/api/live`, { headers: { Accept: "application/json" } }).then((answer) => answer.json()),
]).then(([{ showPanels }, live]) => {
  showPanels({ ...live, ...first });
  showPanels({ ...live, ...second });
  const differences = [];
  const check = (name, found, expected) => {
    const [is, wanted] = [found, expected].map((value) => JSON.stringify(value).replaceAll("\u00a0", " "));
    if (is !== wanted) differences.push(`${name}: ${is}, and not ${wanted}`);
  };
  const text = (selector) => [...document.querySelectorAll(selector)].map((element) => element.innerText);
  check("the tree's top", text("#components > li > .node .label"), ["postgres", "lonely"]);
  check("the branch", text("#components > li > ul > li > .node .status"), ["degraded"]);
  check("errors, most first", text("#errors code"), ["40001", "23505"]);
  check("their bars", [...document.querySelectorAll("#errors .failed")].map(({ style }) => style.width), ["100%", "25%"]);
  check("lag", text("#servers tr:nth-child(2) td").slice(0, 4), ["b:5432", "replica", "12.5 ms", "18.4 kB"]);
  check("a statement", text("#slow td").slice(1), ["1.23 s", evil]);
  check("advice", text("#advice li"), [evil]);
  check("an alert", text("#alerts .tag"), ["firing"]);
  check("markup that was let in", document.querySelectorAll("main img").length, 0);
  return differences;
});
