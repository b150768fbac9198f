//! The tables of `db stats`, from the figures as they are in JSON: those of a service, or its own. Where they come from is elsewhere.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::table::{Table, or_dash};

/// What is shown of the figures.
#[derive(Debug, Deserialize)]
pub(super) struct Figures {
    timestamp: Timestamp,
    pool: Pool,
    /// The pool for writes among them; only a service has them.
    pools: Option<Vec<Pool>>,
    servers: Vec<Server>,
    /// Those that ran most often first; only a service has them.
    lane_uses: Option<Vec<Statement>>,
}

#[derive(Debug, Deserialize)]
struct Pool {
    pool: String,
    total: u32,
    idle: u32,
    in_use: u32,
    waiting: u32,
    min: u32,
    max: u32,
    utilization: f64,
    opened: u64,
    closed: std::collections::BTreeMap<String, u32>,
    waited: Waited,
    lanes: Lanes,
}

#[derive(Debug, Deserialize)]
struct Waited {
    p50_us: u64,
    p99_us: u64,
}

#[derive(Debug, Deserialize)]
struct Lanes {
    open: u32,
    max: u32,
    in_flight: u32,
    deepest: u32,
    waiting: u32,
    statements: u64,
    reruns: u64,
    demotions: u64,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    state: String,
    reason: Option<String>,
    lag: Option<Lag>,
    in_flight: u64,
    latency_ms: Option<f64>,
    served: u64,
    timeline: Option<u32>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Lag {
    bytes: u64,
    ms: u64,
}

#[derive(Debug, Deserialize)]
struct Statement {
    sql: String,
    on_lanes: u64,
    alone: u64,
    demotions: u32,
    why_not: Option<String>,
}

/// How many statements are shown; JSON has them all.
const STATEMENTS: usize = 20;

/// How much of a statement fits on a terminal beside its figures, in characters; elsewhere it is whole.
const WIDTH: usize = 80;

impl Figures {
    /// For people, the first line the time.
    pub(super) fn lines(&self) -> Vec<String> {
        let width = if stdout().is_terminal() { WIDTH } else { usize::MAX };
        self.lines_within(width)
    }

    fn lines_within(&self, width: usize) -> Vec<String> {
        let mut lines = vec![format!("{:.3}", self.timestamp)];
        let pools = self.pools.as_deref().unwrap_or(std::slice::from_ref(&self.pool));
        lines.extend(of_pools(pools).lines());
        if !self.servers.is_empty() {
            lines.push(String::new());
            lines.extend(of_servers(&self.servers).lines());
            let errors =
                self.servers.iter().filter_map(|server| Some((&server.name, server.error.as_ref()?)));
            lines.extend(errors.map(|(name, error)| format!("{name}: {error}")));
        }
        let Some(statements) = &self.lane_uses else {
            // A process that has just begun has nothing on them.
            let Lanes { max, open, .. } = self.pool.lanes;
            if max > 0 {
                lines.push(String::new());
                lines.push(format!("lanes: {open} open of at most {max}; those of a service, and what runs on them: db stats --service"));
            }
            return lines;
        };
        lines.push(String::new());
        lines.extend(of_lanes(pools).lines());
        if !statements.is_empty() {
            lines.push(String::new());
            lines.extend(of_statements(statements, width).lines());
        }
        let left = statements.len().saturating_sub(STATEMENTS);
        if left > 0 {
            lines.push(format!("and {left} more that ran less often: --json"));
        }
        lines
    }
}

fn of_pools(pools: &[Pool]) -> Table {
    let heads = [
        "pool",
        "open",
        "idle",
        "in use",
        "waiting",
        "min",
        "max",
        "used (%)",
        "opened",
        "closed",
        "wait p50 (ms)",
        "wait p99 (ms)",
    ];
    let mut table = Table::new(1, &heads);
    let millis = |micros: u64| format!("{:.3}", Duration::from_micros(micros).as_secs_f64() * 1e3);
    for pool in pools {
        table.row([
            pool.pool.clone(),
            pool.total.to_string(),
            pool.idle.to_string(),
            pool.in_use.to_string(),
            pool.waiting.to_string(),
            pool.min.to_string(),
            pool.max.to_string(),
            format!("{:.1}", pool.utilization),
            pool.opened.to_string(),
            pool.closed.values().sum::<u32>().to_string(),
            millis(pool.waited.p50_us),
            millis(pool.waited.p99_us),
        ]);
    }
    table
}

fn of_servers(servers: &[Server]) -> Table {
    let heads =
        ["server", "state", "lag (bytes)", "lag (s)", "in flight", "latency (ms)", "served", "timeline"];
    let mut table = Table::new(2, &heads);
    for server in servers {
        let lag = server.lag.as_ref();
        let state = match &server.reason {
            Some(reason) => format!("{} ({reason})", server.state),
            None => server.state.clone(),
        };
        table.row([
            server.name.clone(),
            state,
            or_dash(lag.map(|lag| lag.bytes)),
            or_dash(lag.map(|lag| format!("{:.3}", Duration::from_millis(lag.ms).as_secs_f64()))),
            server.in_flight.to_string(),
            or_dash(server.latency_ms.map(|latency| format!("{latency:.3}"))),
            server.served.to_string(),
            or_dash(server.timeline),
        ]);
    }
    table
}

fn of_lanes(pools: &[Pool]) -> Table {
    let heads = [
        "lanes of",
        "open",
        "max",
        "in flight",
        "deepest",
        "waiting",
        "statements",
        "run again",
        "sent back",
    ];
    let mut table = Table::new(1, &heads);
    for pool in pools {
        let Lanes { open, max, in_flight, deepest, waiting, statements, reruns, demotions } = pool.lanes;
        let [open, max, in_flight, deepest, waiting] =
            [open, max, in_flight, deepest, waiting].map(|figure| figure.to_string());
        let [statements, reruns, demotions] =
            [statements, reruns, demotions].map(|figure| figure.to_string());
        table.row([pool.pool.clone(), open, max, in_flight, deepest, waiting, statements, reruns, demotions]);
    }
    table
}

fn of_statements(statements: &[Statement], width: usize) -> Table {
    let heads = ["on lanes", "alone", "sent back", "why not", "statement"];
    let mut table = Table::new(0, &heads).ends_in_texts(2);
    for statement in statements.iter().take(STATEMENTS) {
        table.row([
            statement.on_lanes.to_string(),
            statement.alone.to_string(),
            statement.demotions.to_string(),
            statement.why_not.clone().unwrap_or_else(|| "on lanes".to_owned()),
            cut(&statement.sql, width),
        ]);
    }
    table
}

/// In one line, of at most so many characters.
fn cut(sql: &str, width: usize) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(width) {
        None => line,
        Some(_) => line.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn statement(sql: &str, why_not: Option<&str>) -> Value {
        json!({ "sql": sql, "on_lanes": 7, "alone": 8, "demotions": 1, "why_not": why_not })
    }

    fn figures(lane_uses: &Value) -> Figures {
        let pool = json!({
            "pool": "primary", "total": 3, "idle": 2, "in_use": 1, "waiting": 0, "min": 2, "max": 20, "utilization": 5.0,
            "opened": 4, "closed": { "idle": 1, "broken": 1 }, "waited": { "p50_us": 2, "p99_us": 2048 },
            "lanes": { "open": 1, "max": 4, "in_flight": 9, "deepest": 9, "waiting": 4, "statements": 77, "reruns": 3, "demotions": 2 },
        });
        let pools = if lane_uses.is_null() { Value::Null } else { json!([pool]) };
        let all = json!({
            "timestamp": "2026-01-02T03:04:05.678901234Z", "pool": pool, "pools": pools, "lane_uses": lane_uses,
            "servers": [{ "name": "a:1", "state": "out", "reason": "other_cluster", "lag": { "bytes": 5, "ms": 1250 },
                "in_flight": 0, "latency_ms": 1.5, "served": 6, "timeline": null, "error": null }],
        });
        serde_json::from_value(all).expect("figures")
    }

    #[test]
    fn a_service_has_tables_of_lanes_and_statements() {
        let uses = json!([
            statement("SELECT name\n  FROM t WHERE id = $1", None),
            statement("LOCK TABLE \u{1b}[2Jt", Some("uses what belongs to the session")),
        ]);
        insta::assert_snapshot!(figures(&uses).lines_within(16).join("\n"), @"
        2026-01-02T03:04:05.678Z
        pool     open  idle  in use  waiting  min  max  used (%)  opened  closed  wait p50 (ms)  wait p99 (ms)
        primary     3     2       1        0    2   20       5.0       4       2          0.002          2.048

        server  state                lag (bytes)  lag (s)  in flight  latency (ms)  served  timeline
        a:1     out (other_cluster)            5    1.250          0         1.500       6         -

        lanes of  open  max  in flight  deepest  waiting  statements  run again  sent back
        primary      1    4          9        9        4          77          3          2

        on lanes  alone  sent back  why not                           statement
               7      8          1  on lanes                          SELECT name FRO…
               7      8          1  uses what belongs to the session  LOCK TABLE  [2Jt
        ");
    }

    #[test]
    fn who_opens_a_pool_says_who_has_more() {
        let lines = figures(&Value::Null).lines_within(80);
        let last = lines.last().map(String::as_str);
        assert_eq!(
            last,
            Some("lanes: 1 open of at most 4; those of a service, and what runs on them: db stats --service")
        );
        let mut without = figures(&Value::Null);
        without.pool.lanes.max = 0;
        assert!(!without.lines_within(80).join("\n").contains("lanes"));
    }

    #[test]
    fn the_twenty_that_ran_most_are_shown() {
        let uses: Vec<Value> = (0..22).map(|number| statement(&format!("SELECT t{number}"), None)).collect();
        let lines = figures(&uses.into()).lines_within(80);
        assert!(lines.iter().any(|line| line.ends_with("SELECT t19")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.ends_with("SELECT t20")), "{lines:#?}");
        assert_eq!(lines.last().map(String::as_str), Some("and 2 more that ran less often: --json"));
    }
}
