//! The instruments that events are counted with. What is counted when is in `metrics`.

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::names;

/// Bounds of times in seconds, as the conventions have them.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Bounds of migrations' times in seconds, which may take long.
const LONG_SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0, 3600.0];
/// Bounds of numbers of rows, as the conventions have them.
const ROWS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

#[derive(Debug)]
pub(crate) struct Instruments {
    pub(crate) operation_duration: Histogram<f64>,
    pub(crate) returned_rows: Histogram<u64>,
    pub(crate) operation_slow: Counter<u64>,
    pub(crate) timeouts: Counter<u64>,
    pub(crate) create_time: Histogram<f64>,
    pub(crate) wait_time: Histogram<f64>,
    pub(crate) use_time: Histogram<f64>,
    pub(crate) closed: Counter<u64>,
    pub(crate) failures: Counter<u64>,
    pub(crate) leaks: Counter<u64>,
    pub(crate) retries: Counter<u64>,
    pub(crate) given_up: Counter<u64>,
    pub(crate) breaker: Gauge<u64>,
    pub(crate) commits_resolved: Counter<u64>,
    pub(crate) changes: Counter<u64>,
    pub(crate) reads_moved: Counter<u64>,
    pub(crate) migration_duration: Histogram<f64>,
}

impl Instruments {
    pub(crate) fn of(meter: &Meter) -> Self {
        let counter = |name, unit, about: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(about).build()
        };
        let seconds = |name, bounds: [f64; 9], about: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(about);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        let rows = meter.u64_histogram(names::RETURNED_ROWS).with_unit("{row}");
        let rows = rows.with_description("Rows that an operation gave").with_boundaries(ROWS.to_vec());
        let breaker = meter.u64_gauge(names::BREAKER).with_unit("{breaker}");
        Self {
            operation_duration: seconds(names::OPERATION_DURATION, SECONDS, "Duration of operations"),
            returned_rows: rows.build(),
            operation_slow: counter(
                names::OPERATION_SLOW,
                "{operation}",
                "Operations over the limit for slow ones",
            ),
            timeouts: counter(
                names::CONNECTION_TIMEOUTS,
                "{timeout}",
                "Callers who got no connection in time",
            ),
            create_time: seconds(names::CONNECTION_CREATE_TIME, SECONDS, "Time to open a connection"),
            wait_time: seconds(
                names::CONNECTION_WAIT_TIME,
                SECONDS,
                "Time that callers waited for a connection",
            ),
            use_time: seconds(names::CONNECTION_USE_TIME, SECONDS, "Time that callers had a connection"),
            closed: counter(names::CONNECTION_CLOSED, "{connection}", "Connections that were closed"),
            failures: counter(
                names::CONNECTION_FAILURES,
                "{failure}",
                "Connections that could not be opened",
            ),
            leaks: counter(
                names::CONNECTION_LEAKS,
                "{connection}",
                "Connections that did not come back for long",
            ),
            retries: counter(names::RETRIES, "{retry}", "Attempts after the first"),
            given_up: counter(names::GIVEN_UP, "{call}", "Calls that failed for good"),
            breaker: breaker.with_description("Breaker: 0 closed, 1 half open, 2 open").build(),
            commits_resolved: counter(
                names::COMMITS_RESOLVED,
                "{commit}",
                "COMMITs whose outcome was asked for",
            ),
            changes: counter(names::CHANGES, "{change}", "Servers that came to be good for something else"),
            reads_moved: counter(names::READS_MOVED, "{read}", "Reads that went on to another server"),
            migration_duration: seconds(names::MIGRATION_DURATION, LONG_SECONDS, "Duration of migrations"),
        }
    }
}
