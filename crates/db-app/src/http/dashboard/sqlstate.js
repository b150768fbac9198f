// What the codes of PostgreSQL mean, in the words of its manual: those that services meet, and the class of the others.

const CODES = {
  "08001": "cannot connect",
  "08003": "connection does not exist",
  "08006": "connection failure",
  "08P01": "protocol violation",
  "22001": "string too long",
  "22003": "number out of range",
  "22012": "division by zero",
  "22P02": "invalid text for a type",
  "23502": "not-null violation",
  "23503": "foreign key violation",
  "23505": "unique violation",
  "23514": "check violation",
  "23P01": "exclusion violation",
  "25006": "read-only transaction",
  "25P02": "transaction already failed",
  "25P03": "idle in transaction too long",
  "28P01": "wrong password",
  "3D000": "no such database",
  "40001": "serialization failure",
  "40003": "outcome of the statement unknown",
  "40P01": "deadlock",
  "42501": "no privilege",
  "42601": "syntax error",
  "42703": "no such column",
  "42P01": "no such table",
  "42P07": "table exists already",
  "53100": "disk full",
  "53200": "out of memory",
  "53300": "too many connections",
  "55P03": "lock not available",
  "57014": "cancelled, or over its time limit",
  "57P01": "server shut down by its administrator",
  "57P02": "server crashed",
  "57P03": "server is starting or stopping",
};

const CLASSES = {
  "08": "connection",
  "0A": "not supported",
  22: "data",
  23: "integrity constraint",
  25: "transaction state",
  28: "authorization",
  40: "transaction rolled back",
  42: "syntax or access rule",
  53: "resources of the server",
  54: "limit of the program",
  55: "object not in the right state",
  57: "intervention of an operator",
  58: "system around the server",
  XX: "inside the server",
};

/** The meaning of a code; empty for what is no SQLSTATE. */
export function meaning(code) {
  if (!/^[0-9A-Z]{5}$/.test(code)) return "";
  return CODES[code] ?? CLASSES[code.slice(0, 2)] ?? "";
}
