//! The short shapes: they never tell more than statuses and fixed words, whoever asks.

use db_core::Status;
use serde_json::{Map, Value, json};

use super::{Audience, entry, with_lifecycle};
use crate::{Component, Snapshot};

/// The short form: overall status, time, and for each service `connected` or `disconnected`. While the service starts or shuts
/// down `reason` says so.
#[must_use]
pub fn plain(snapshot: &Snapshot) -> Value {
    let word = |component: &Component| match component.status {
        Status::Unhealthy => "disconnected",
        Status::Healthy | Status::Degraded => "connected",
    };
    let services: Map<String, Value> = snapshot
        .roots()
        .filter(|component| component.is_service)
        .map(|component| (component.name.clone(), word(component).into()))
        .collect();
    let answer = json!({ "status": snapshot.status(), "timestamp": snapshot.at, "services": services });
    with_lifecycle(snapshot, answer)
}

/// The short form for probes: whether the service is ready, and the fixed words for what is not well.
#[must_use]
pub fn ready(snapshot: &Snapshot) -> Value {
    let checks: Map<String, Value> = snapshot
        .components
        .iter()
        .map(|component| (component.name.clone(), entry(component, Audience::Stranger)))
        .collect();
    let status = if snapshot.is_ready() { "ready" } else { "not ready" };
    with_lifecycle(snapshot, json!({ "status": status, "timestamp": snapshot.at, "checks": checks }))
}

/// The form for startup probes: whether the service has ever been ready to serve, and what it waits for.
#[must_use]
pub fn startup(snapshot: &Snapshot) -> Value {
    let is_started = snapshot.is_started();
    // Whatever is unhealthy and critical; something that is not cannot be what is waited for.
    let waiting: Vec<_> = snapshot
        .components
        .iter()
        .filter(|component| !is_started && component.is_critical && component.status == Status::Unhealthy)
        .map(|component| component.name.as_str())
        .collect();
    let status = if is_started { "started" } else { "starting" };
    json!({ "status": status, "timestamp": snapshot.at, "waiting_for": waiting })
}
