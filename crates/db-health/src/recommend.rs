//! What a person could do about figures that are not well, in words. Pure: figures in, sentences out. It changes no setting, and
//! what is an alarm is for [alerts](crate::Alerts) to say.

use std::time::Duration;

use serde::Serialize;

use crate::{ErrorCount, WindowFigures};

/// Use of a pool from here on is high, in per cent.
const HIGH_USE: f64 = 80.0;

/// High use for a shorter time is a burst.
const LASTING: Duration = Duration::from_secs(30);

/// Waits from here on are felt, in milliseconds.
const LONG_WAIT: f64 = 100.0;

/// Statements that take longer than this on average are what holds the connections, in milliseconds.
const SLOW: f64 = 500.0;

/// The figures that recommendations are made from. The default is of a service where all is well.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Situation {
    /// The pools.
    pub pools: Vec<PoolUse>,
    /// The last minute.
    pub window: WindowFigures,
    /// Its errors by code.
    pub errors: Vec<ErrorCount>,
    /// How far the last replica is behind, in milliseconds.
    pub lag_ms: Option<f64>,
    /// How far one may be behind, in milliseconds (`DB_REPLICA_MAX_LAG_MS`).
    pub max_lag_ms: Option<f64>,
}

/// How a pool is used.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PoolUse {
    /// Name of the pool.
    pub name: String,
    /// The setting that limits it; `DB_POOL_MAX` when empty.
    pub setting: String,
    /// The most connections.
    pub max: u32,
    /// Connections in use, in per cent of `max`.
    pub utilization: f64,
    /// For how long that has been more than 80 % without a break.
    pub busy_for: Duration,
    /// Callers waiting for a connection.
    pub waiting: u32,
    /// 99 % of the callers waited no longer, in milliseconds.
    pub wait_p99_ms: f64,
}

/// Something that a person could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recommendation {
    /// A fixed word for it.
    pub code: &'static str,
    /// What is so, and what to do. Holds no secret and no value of a statement.
    pub text: String,
}

/// What could be done, most urgent first. None when all is well.
///
/// ```
/// use db_health::{Situation, recommend};
///
/// let mut situation = Situation::default();
/// assert_eq!(recommend(&situation), []);
///
/// situation.lag_ms = Some(12_300.0);
/// assert_eq!(recommend(&situation)[0].code, "replica_lag");
/// ```
#[must_use]
pub fn recommend(situation: &Situation) -> Vec<Recommendation> {
    let mut found = Vec::new();
    let mut add = |code, text| found.push(Recommendation { code, text });
    by_code(situation, &mut add);
    connections(situation, &mut add);
    for pool in &situation.pools {
        waits(pool, situation.window.average_ms, &mut add);
    }
    statements(&situation.window, &mut add);
    retries(&situation.window, &mut add);
    lag(situation, &mut add);
    found
}

type Add<'a> = &'a mut dyn FnMut(&'static str, String);

/// What single errors say by themselves.
fn by_code(situation: &Situation, add: Add<'_>) {
    let count = |codes: &[&str]| -> u64 {
        let errors = situation.errors.iter().filter(|error| codes.contains(&&*error.code));
        errors.map(|error| error.count).sum()
    };
    let mut on = |codes: &[&str], code, what: &str| {
        if count(codes) > 0 {
            add(code, format!("{what} ({}): {}", codes.join(", "), advice(code)));
        }
    };
    on(&["53100"], "disk_full", "the server's disk is full");
    on(&["28000", "28P01"], "credentials", "the server refuses the user or the password");
    on(&["3D000"], "no_database", "the database does not exist");
    on(&["53300"], "too_many_connections", "the server has no connection to spare");
    on(&["42P01", "42703", "42883"], "schema_differs", "statements name what the schema does not have");
    on(&["57014"], "cancelled", "statements run out of time");
    // Some conflicts are what optimistic transactions live with.
    if count(&["40001", "40P01"]) * 100 > situation.window.operations {
        on(&["40001", "40P01"], "contention", "more than 1 % of the statements conflict with each other");
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "disk_full" => "free space there first: nothing can be written",
        "credentials" => {
            "check DATABASE_URL, DB_PASSWORD_FILE or DB_PASSWORD_COMMAND, and the server's pg_hba.conf"
        }
        "no_database" => "create it, or correct its name in DATABASE_URL",
        "too_many_connections" => {
            "lower DB_POOL_MAX, of which each instance takes as much, or raise max_connections there"
        }
        "schema_differs" => "apply the pending migrations with `db migrate up`",
        "cancelled" => "look at their plans before raising DB_STATEMENT_TIMEOUT_MS",
        _ => "touch rows in the same order everywhere, and keep transactions short",
    }
}

fn connections(situation: &Situation, add: Add<'_>) {
    let WindowFigures { connect_failures, seconds, .. } = situation.window;
    // Where the server itself has answered, its code says more.
    let is_explained =
        situation.errors.iter().any(|error| matches!(&*error.code, "28000" | "28P01" | "3D000" | "53300"));
    if connect_failures > 0 && !is_explained {
        add(
            "unreachable",
            format!(
                "{connect_failures} connections could not be opened in {seconds} s: check that the server of DATABASE_URL runs and \
                 can be reached; if it only answers slowly raise DB_CONNECT_TIMEOUT_MS"
            ),
        );
    }
}

fn waits(pool: &PoolUse, average_ms: f64, add: Add<'_>) {
    let PoolUse { name, setting, max, utilization, busy_for, waiting, wait_p99_ms } = pool;
    let setting = if setting.is_empty() { "DB_POOL_MAX" } else { setting };
    let is_busy = *utilization > HIGH_USE && *busy_for >= LASTING;
    let is_waited_for = *waiting > 0 || *wait_p99_ms >= LONG_WAIT;
    let seconds = busy_for.as_secs();
    match (is_busy, is_waited_for) {
        (true, true) if average_ms > SLOW => add(
            "connections_held",
            format!(
                "{utilization:.0} % of the {max} connections of pool {name} have been in use for {seconds} s and {waiting} callers wait, \
                 since statements take {average_ms:.0} ms on average: make these faster first; with a higher {setting} the server would \
                 do more of them at a time, and each more slowly"
            ),
        ),
        (true, true) => add(
            "pool_too_small",
            format!(
                "{utilization:.0} % of the {max} connections of pool {name} have been in use for {seconds} s and {waiting} callers wait, \
                 though statements are fast: raise {setting} (now {max}), or hold connections for a shorter time"
            ),
        ),
        (true, false) => add(
            "pool_nearly_full",
            format!(
                "{utilization:.0} % of the {max} connections of pool {name} have been in use for {seconds} s: raise {setting} (now {max}) \
                 before callers have to wait"
            ),
        ),
        (false, true) if *wait_p99_ms >= LONG_WAIT => add(
            "pool_bursts",
            format!(
                "one in a hundred callers waits {wait_p99_ms:.0} ms or longer for a connection of pool {name}: raise DB_POOL_MIN, so that \
                 more of them are open before a burst"
            ),
        ),
        (false, _) => {}
    }
}

fn statements(window: &WindowFigures, add: Add<'_>) {
    let WindowFigures { operations, error_rate, average_ms, slow_statements, seconds, .. } = window;
    // Of few operations a single one is many per cent.
    if *error_rate > 5.0 && *operations >= 10 {
        add(
            "errors",
            format!(
                "{error_rate:.1} % of the operations of the last {seconds} s failed: see the errors by code"
            ),
        );
    }
    if *average_ms > SLOW {
        add(
            "latency",
            format!(
                "statements take {average_ms:.0} ms on average: look for missing indexes, locks, and a server at its limits"
            ),
        );
    }
    if *slow_statements > 0 {
        add(
            "slow_statements",
            format!(
                "{slow_statements} statements of the last {seconds} s took longer than DB_SLOW_QUERY_MS: look at the plans of those listed \
                 as slow with EXPLAIN (ANALYZE, BUFFERS)"
            ),
        );
    }
}

fn retries(window: &WindowFigures, add: Add<'_>) {
    let WindowFigures { retries, gave_up, seconds, .. } = window;
    if *gave_up > 0 {
        add(
            "gave_up",
            format!(
                "{gave_up} calls of the last {seconds} s failed although they may be tried again: if the server is away for longer than \
                 they wait, raise DB_MAX_RETRIES or DB_RETRY_MAX_DELAY_MS"
            ),
        );
    } else if *retries > 10 {
        add(
            "retries",
            format!(
                "{retries} calls of the last {seconds} s were tried again, with success: find out why before their number grows"
            ),
        );
    }
}

fn lag(situation: &Situation, add: Add<'_>) {
    let Some(lag) = situation.lag_ms else { return };
    let limit = situation.max_lag_ms.unwrap_or(10_000.0);
    if lag > limit {
        add(
            "replica_lag",
            format!(
                "a replica is {:.1} s behind, and takes no reads beyond {:.1} s (DB_REPLICA_MAX_LAG_MS): look for long queries on it, and for \
                 bulk writes on the primary",
                lag / 1e3,
                limit / 1e3
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(change: impl FnOnce(&mut Situation)) -> Vec<&'static str> {
        let mut situation = Situation::default();
        situation.window.seconds = 60;
        situation.window.operations = 1_000;
        change(&mut situation);
        recommend(&situation).into_iter().map(|found| found.code).collect()
    }

    fn pool(utilization: f64, busy_for: u64, waiting: u32, wait_p99_ms: f64) -> PoolUse {
        let (name, setting, busy_for) = ("primary".to_owned(), String::new(), Duration::from_secs(busy_for));
        PoolUse { name, setting, max: 20, utilization, busy_for, waiting, wait_p99_ms }
    }

    /// D8: pools.
    #[test]
    fn what_to_do_about_a_pool() {
        let check = |pool: PoolUse, average_ms: f64, expect: &[&str]| {
            let codes = codes(|situation| {
                situation.pools = vec![pool];
                situation.window.average_ms = average_ms;
            });
            assert_eq!(codes, expect);
        };
        check(pool(10.0, 0, 0, 0.1), 1.0, &[]);
        check(pool(80.0, 60, 0, 0.1), 1.0, &[]);
        check(pool(100.0, 29, 5, 0.1), 1.0, &[]);
        check(pool(81.0, 30, 0, 0.1), 1.0, &["pool_nearly_full"]);
        check(pool(100.0, 30, 1, 0.1), 1.0, &["pool_too_small"]);
        check(pool(100.0, 30, 0, 100.0), 500.0, &["pool_too_small"]);
        check(pool(100.0, 30, 5, 0.1), 501.0, &["connections_held", "latency"]);
        check(pool(10.0, 0, 0, 99.0), 1.0, &[]);
        check(pool(10.0, 0, 0, 100.0), 1.0, &["pool_bursts"]);
    }

    /// D8: errors that say by themselves what to do.
    #[test]
    fn what_to_do_about_an_error() {
        let check = |code: &str, count: u64, failures: u64, expect: &[&str]| {
            let codes = codes(|situation| {
                situation.errors = vec![ErrorCount { code: code.to_owned(), count }];
                situation.window.connect_failures = failures;
            });
            assert_eq!(codes, expect, "{code}");
        };
        check("23505", 100, 0, &[]);
        check("53100", 1, 0, &["disk_full"]);
        check("28P01", 1, 1, &["credentials"]);
        check("3D000", 1, 1, &["no_database"]);
        check("53300", 1, 1, &["too_many_connections"]);
        check("connect", 1, 1, &["unreachable"]);
        check("57P03", 1, 1, &["unreachable"]);
        check("42P01", 1, 0, &["schema_differs"]);
        check("57014", 1, 0, &["cancelled"]);
        check("40001", 10, 0, &[]);
        check("40001", 11, 0, &["contention"]);
        check("40P01", 11, 0, &["contention"]);
    }

    /// D8: statements, retries and replicas.
    #[test]
    fn what_to_do_about_figures() {
        let check = |change: fn(&mut Situation), expect: &[&str]| assert_eq!(codes(change), expect);
        check(|it| it.window.error_rate = 5.0, &[]);
        check(|it| it.window.error_rate = 5.1, &["errors"]);
        check(|it| (it.window.error_rate, it.window.operations) = (50.0, 9), &[]);
        check(|it| it.window.average_ms = 500.0, &[]);
        check(|it| it.window.average_ms = 501.0, &["latency"]);
        check(|it| it.window.slow_statements = 1, &["slow_statements"]);
        check(|it| it.window.retries = 10, &[]);
        check(|it| it.window.retries = 11, &["retries"]);
        check(|it| (it.window.retries, it.window.gave_up) = (11, 1), &["gave_up"]);
        check(|it| it.lag_ms = Some(10_000.0), &[]);
        check(|it| it.lag_ms = Some(10_001.0), &["replica_lag"]);
        check(|it| (it.lag_ms, it.max_lag_ms) = (Some(2.0), Some(1.0)), &["replica_lag"]);
    }

    #[test]
    fn sentences() {
        let mut situation = Situation {
            pools: vec![pool(100.0, 42, 7, 250.0), pool(90.0, 31, 0, 1.0), pool(10.0, 0, 0, 250.0)],
            errors: ["53100", "28P01", "3D000", "53300", "42P01", "57014", "40001", "connect"]
                .map(|code| ErrorCount { code: code.to_owned(), count: 100 })
                .to_vec(),
            lag_ms: Some(12_340.0),
            max_lag_ms: Some(10_000.0),
            ..Situation::default()
        };
        situation.pools[1].setting = "DB_REPLICA_POOL_MAX".to_owned();
        let window = &mut situation.window;
        (window.seconds, window.operations, window.slow_statements) = (60, 1_000, 3);
        (window.retries, window.error_rate) = (12, 12.34);
        let mut found = recommend(&situation);
        situation.errors.clear();
        (situation.window.connect_failures, situation.window.average_ms) = (4, 812.3);
        situation.window.gave_up = 2;
        for more in recommend(&situation) {
            if !found.iter().any(|known| known.code == more.code) {
                found.push(more);
            }
        }
        let lines: Vec<_> = found.iter().map(|found| format!("{}: {}", found.code, found.text)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
