// The figures as they come: `api/live`, read by fetch and not by EventSource, which cannot send a token. Reconnects for
// ever, each time a little later. Knows nothing of what the figures mean.

/** A connection that says nothing for so long is dead: figures are sent each second. */
const SILENCE_MS = 5_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Follows the stream. `on` has: `token()` gives the token or null; `message(figures)`; `refused()` when the token is missing or
 * wrong, after which nothing is tried until `again()`; `lost(reason, retryAt)` with the time of the next try.
 */
export function follow(url, on) {
  let tries = 0;
  let running = null;
  let timer = 0;

  async function connect() {
    clearTimeout(timer);
    running?.abort();
    const mine = new AbortController();
    running = mine;
    try {
      const refused = await read(url, on.token(), mine, (figures) => {
        tries = 0;
        on.message(figures);
      });
      if (running !== mine) return;
      if (refused) {
        running = null;
        on.refused();
        return;
      }
      later("The service ended the connection.");
    } catch (error) {
      if (running === mine) later(error.message);
    }
  }

  function later(reason) {
    running = null;
    // Spread, so that many pages do not come back at once.
    const wait = Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS) * (0.8 + 0.4 * Math.random());
    tries += 1;
    timer = setTimeout(connect, wait);
    on.lost(reason, Date.now() + wait);
  }

  connect();
  return {
    /** Connects anew at once. */
    again() {
      tries = 0;
      connect();
    },
    /** As `again`, but leaves a connection alone that is there or being made. */
    wake() {
      if (!running) connect();
    },
  };
}

/** Reads until the stream ends; true when the token is missing or wrong. */
async function read(url, token, controller, message) {
  const headers = { Accept: "text/event-stream" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  // Cancelled when nothing came for too long, whether it is the answer or the next figures.
  let guard = 0;
  const alive = () => {
    clearTimeout(guard);
    guard = setTimeout(() => controller.abort(new Error("The service says nothing.")), SILENCE_MS);
  };
  alive();
  try {
    const response = await reached(fetch(url, { headers, cache: "no-store", signal: controller.signal }), controller);
    if (response.status === 401) return true;
    if (!response.ok) throw new Error(`The service answered ${response.status}.`);
    const type = response.headers.get("content-type") ?? "";
    if (!type.startsWith("text/event-stream")) throw new Error(`The service answered with ${type || "nothing"}.`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = parser((data) => message(JSON.parse(data)));
    for (;;) {
      const { done, value } = await reached(reader.read(), controller);
      if (done) return false;
      alive();
      parse(value);
    }
  } finally {
    clearTimeout(guard);
  }
}

/** Cuts a stream of server-sent events into the data of its events. Text may arrive in pieces of any size. */
export function parser(event) {
  let rest = "";
  let data = [];
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const whole of lines) {
      const line = whole.endsWith("\r") ? whole.slice(0, -1) : whole;
      if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      } else if (line === "" && data.length > 0) {
        const text = data.join("\n");
        data = [];
        event(text);
      }
    }
  };
}

/** What fetch throws has the browser's words, which say less than ours. */
function reached(work, controller) {
  return work.catch(() => {
    const { aborted, reason } = controller.signal;
    throw aborted && reason instanceof Error ? new Error(reason.message) : new Error("The service cannot be reached.");
  });
}
