// Figures as text: a number and its unit, held together by a space that does not break. Pure; knows nothing of the page.

/** What stands where there is no figure. */
export const NONE = "–";

const SPACE = "\u00a0";
const numbers = [0, 1, 2].map(
  (digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);
const clocks = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dates = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric" });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A number and its unit as one text. */
export const joined = ([number, unit]) => (unit ? number + SPACE + unit : number);

/** Three digits are enough to act on: `0.41`, `12.3`, `1,234`. */
export function digits(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  const places = size === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return numbers[places].format(value);
}

export const count = (value) => (isNumber(value) ? numbers[0].format(value) : NONE);

/** A time given in milliseconds. */
export function ms(value) {
  if (!isNumber(value)) return [NONE, ""];
  if (value < 999.5) return [digits(value), "ms"];
  return value < 120_000 ? [digits(value / 1000), "s"] : [digits(value / 60_000), "min"];
}

/** An amount given in bytes, in decimal units. */
export function bytes(value) {
  if (!isNumber(value)) return [NONE, ""];
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return [at === 0 ? count(value) : digits(value), units[at]];
}

export const percent = (value) => [digits(value), isNumber(value) ? "%" : ""];

/** How long something lasted, given in seconds, in its two largest units. */
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  const sizes = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = sizes.findIndex(([size]) => seconds >= size);
  if (first < 0) return joined(["0", "s"]);
  const parts = [];
  for (const [size, unit] of sizes.slice(first, first + 2)) {
    const whole = Math.floor(seconds / size);
    if (whole > 0) parts.push(joined([count(whole), unit]));
    seconds -= whole * size;
  }
  return parts.join(" ");
}

/** The time of day where the reader sits; with the date when it is another day. */
export function clock(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return NONE;
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? clocks.format(at) : `${dates.format(at)}, ${clocks.format(at)}`;
}

/** `1 error`, `2 errors`. */
export const counted = (value, one, many = `${one}s`) => joined([count(value), value === 1 ? one : many]);
