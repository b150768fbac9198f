//! The rules that most services want. Thresholds are those that were asked for, and can be changed.

use std::sync::Arc;

use db_core::Status;

use super::rule::{Reading, Rule};
use crate::{Snapshot, Window};

/// With fewer operations in the window a rate says nothing.
const ENOUGH: u64 = 10;

/// More than 80 % of the connections of a pool are in use.
///
/// `measure` gives the use in per cent; with several pools that of the fullest, [named](Reading::of).
#[must_use]
pub fn pool_utilization<R: Into<Reading>>(measure: impl Fn() -> Option<R> + Send + Sync + 'static) -> Rule {
    Rule::above("pool_utilization", 80.0, "%", measure).text("most connections of a pool are in use")
}

/// Statements of the window took more than 500 ms on average.
#[must_use]
pub fn average_latency(window: &Arc<Window>) -> Rule {
    let window = Arc::clone(window);
    Rule::above("average_latency", 500.0, "ms", move || Some(window.figures().average_ms))
        .text("statements take long on average")
}

/// A connection could not be opened within the window. Fires at once.
#[must_use]
pub fn connect_failures(window: &Arc<Window>) -> Rule {
    let window = Arc::clone(window);
    Rule::above("connect_failures", 0.0, "", move || Some(window.figures().connect_failures as f64))
        .fire_after(1)
        .text("connections to the database cannot be opened")
}

/// More than 10 retries within the window: one is what retries are for.
#[must_use]
pub fn retries(window: &Arc<Window>) -> Rule {
    let window = Arc::clone(window);
    Rule::above("retries", 10.0, "", move || Some(window.figures().retries as f64))
        .text("many calls succeed only when they are tried again")
}

/// More than 5 % of the operations of the window failed. Of fewer than 10 operations a rate says nothing: then the alert stays as it
/// is while any of them failed, and nothing is wrong while none did.
#[must_use]
pub fn error_rate(window: &Arc<Window>) -> Rule {
    let window = Arc::clone(window);
    let measure = move || {
        let figures = window.figures();
        (figures.operations >= ENOUGH || figures.errors == 0).then_some(figures.error_rate)
    };
    Rule::above("error_rate", 5.0, "%", measure).text("many operations fail")
}

/// A replica is more than 10 s behind the primary.
///
/// `measure` gives the lag in seconds; with several replicas that of the last, [named](Reading::of).
#[must_use]
pub fn replica_lag<R: Into<Reading>>(measure: impl Fn() -> Option<R> + Send + Sync + 'static) -> Rule {
    Rule::above("replica_lag", 10.0, "s", measure).text("a replica is far behind the primary")
}

/// A component is unhealthy. The checks are damped already, so that it fires at once.
///
/// ```no_run
/// # fn example(monitor: std::sync::Arc<db_health::Monitor>) -> db_health::Rule {
/// db_health::rules::component_unhealthy(move || Some(monitor.snapshot()))
/// # }
/// ```
#[must_use]
pub fn component_unhealthy(snapshot: impl Fn() -> Option<Snapshot> + Send + Sync + 'static) -> Rule {
    let measure = move || {
        let snapshot = snapshot()?;
        let unhealthy = snapshot.components.iter().filter(|component| component.status == Status::Unhealthy);
        let names: Vec<_> = unhealthy.map(|component| component.name.as_str()).collect();
        let reading = Reading::new(names.len() as f64);
        Some(if names.is_empty() { reading } else { reading.of(names.join(", ")) })
    };
    Rule::above("component_unhealthy", 0.0, "", measure)
        .fire_after(1)
        .resolve_after(1)
        .text("a component is unhealthy")
}
