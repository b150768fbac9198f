//! The figures of a window as values, in the shape that pages show.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::ledger::Sum;

/// What happened in a window, from [`Window::figures`](crate::Window::figures). Times are in milliseconds with a resolution of
/// 1 µs; a percentile is at most an eighth above the true value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WindowFigures {
    /// Length of the window.
    pub seconds: u64,
    /// Statements that ended, well or not, and callers who went away without a connection.
    pub operations: u64,
    /// Operations each second; while the window is not full yet, of the time that there was.
    pub per_second: f64,
    /// Operations that failed, but for faults of the statement or its data.
    pub errors: u64,
    /// `errors` in per cent of `operations`; 0 without any.
    pub error_rate: f64,
    /// Mean time of a statement.
    pub average_ms: f64,
    /// Half of the statements took no longer.
    pub p50_ms: f64,
    /// 95 % took no longer.
    pub p95_ms: f64,
    /// 99 % took no longer.
    pub p99_ms: f64,
    /// Half of the callers who got a connection waited no longer for it.
    pub wait_p50_ms: f64,
    /// 99 % waited no longer.
    pub wait_p99_ms: f64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
    /// Calls that were tried again, each time.
    pub retries: u64,
    /// Calls that were given up although they were, or might have been, tried again.
    pub gave_up: u64,
    /// Statements that took longer than their pool's limit for slow ones.
    pub slow_statements: u64,
}

impl WindowFigures {
    /// The figures of `sum` for a window of `seconds` that began to be filled `age` ago.
    pub(super) fn of(sum: &Sum, seconds: u64, age: Duration) -> Self {
        let operations = sum.times.count() + sum.refused;
        // The second that runs is not over: a full window covers a little less than its length.
        let covered = age.as_secs().min(seconds - 1) as f64 + f64::from(age.subsec_nanos()) / 1e9;
        let percentile = |percent| millis(sum.times.percentile(percent));
        Self {
            seconds,
            operations,
            per_second: hundredths(operations as f64 / covered.max(1.0)),
            errors: sum.errors,
            error_rate: hundredths(sum.errors as f64 * 100.0 / operations.max(1) as f64),
            average_ms: millis(sum.times.average()),
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
            wait_p50_ms: millis(sum.waits.percentile(50)),
            wait_p99_ms: millis(sum.waits.percentile(99)),
            connect_failures: sum.connect_failures,
            retries: sum.retries,
            gave_up: sum.gave_up,
            slow_statements: sum.slow,
        }
    }
}

/// How often an error was seen in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErrorCount {
    /// The SQLSTATE, the phase of the call for errors that are not the server's (`acquire`, `connect`, `execute`, `commit`), or
    /// `other`.
    pub code: String,
    /// How often.
    pub count: u64,
}

impl ErrorCount {
    pub(super) fn new(code: &str, count: u64) -> Self {
        Self { code: code.to_owned(), count }
    }
}

/// A statement that took long.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SlowStatement {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Its text without literals, at most 500 characters.
    pub statement: String,
}

/// Milliseconds with a resolution of microseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(operations: u64, errors: u64, age: f64) -> WindowFigures {
        let mut sum = Sum { errors, refused: errors, ..Sum::default() };
        (errors..operations).for_each(|_| sum.times.record(Duration::from_micros(400)));
        WindowFigures::of(&sum, 60, Duration::from_secs_f64(age))
    }

    #[test]
    fn rates() {
        let check = |operations, errors, age, expect: (f64, f64)| {
            let figures = figures(operations, errors, age);
            assert_eq!((figures.per_second, figures.error_rate), expect, "{figures:?}");
        };
        check(0, 0, 0.0, (0.0, 0.0));
        check(1_200, 1, 60.0, (20.34, 0.08));
        check(1_200, 0, 59.999, (20.0, 0.0));
        check(1_200, 600, 1_000.5, (20.17, 50.0));
        // Of the time that there was, but not of less than a second.
        check(30, 30, 10.0, (3.0, 100.0));
        check(30, 0, 0.01, (30.0, 0.0));
    }

    #[test]
    fn json() {
        insta::assert_json_snapshot!(figures(1_000, 3, 100.0), @r#"
        {
          "seconds": 60,
          "operations": 1000,
          "per_second": 16.95,
          "errors": 3,
          "error_rate": 0.3,
          "average_ms": 0.4,
          "p50_ms": 0.416,
          "p95_ms": 0.416,
          "p99_ms": 0.416,
          "wait_p50_ms": 0.0,
          "wait_p99_ms": 0.0,
          "connect_failures": 0,
          "retries": 0,
          "gave_up": 0,
          "slow_statements": 0
        }
        "#);
    }
}
