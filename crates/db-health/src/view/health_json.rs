//! The shape of the draft "Health Check Response Format for HTTP APIs" (draft-inadarei-api-health-check-06).

use db_core::Status;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::Audience;
use crate::{Component, Snapshot};

/// The media type of [`health_json`].
pub const HEALTH_JSON: &str = "application/health+json";

/// Figures of components that are measurements of the draft's kind: its name among the details, the measurement, the unit.
const MEASUREMENTS: [(&str, &str, &str); 4] = [
    ("utilization", "utilization", "percent"),
    ("lag_s", "lag", "s"),
    ("oldest_s", "age", "s"),
    ("latency_ms", "responseTime", "ms"),
];

/// `status` (`pass`, `warn` or `fail`), the `version` of the service if given, and `checks` by `component:measurement`. A part
/// is found under the name of what it is part of, as in `postgres:lag`.
#[must_use]
pub fn health_json(snapshot: &Snapshot, audience: Audience, version: Option<&str>) -> Value {
    let checks: Map<String, Value> = snapshot
        .components
        .iter()
        .map(|component| (key(component), json!([check(snapshot, component, audience)])))
        .collect();
    let mut answer = json!({ "status": word(snapshot.status()), "checks": checks });
    if let Some(version) = version {
        answer["version"] = version.into();
    }
    if let Some(reason) = snapshot.reason() {
        answer["output"] = reason.into();
    }
    answer
}

fn check(snapshot: &Snapshot, component: &Component, audience: Audience) -> Value {
    let kind = if component.is_service { "datastore" } else { "component" };
    let mut check = json!({
        "componentId": component.name,
        "componentType": kind,
        "status": word(component.status),
    });
    if let Some(time) = component.age.and_then(|age| SignedDuration::try_from(age).ok()) {
        check["time"] = snapshot.at.saturating_sub(time).unwrap_or(snapshot.at).to_string().into();
    }
    let is_insider = audience == Audience::Insider;
    if let Some(output) = output(component, is_insider) {
        check["output"] = output.into();
    }
    if let Some((value, _, unit)) = measurement(component).filter(|_| is_insider) {
        (check["observedValue"], check["observedUnit"]) = (value.clone(), unit.into());
    }
    check
}

/// Nothing when it passes, as the draft wants it.
fn output(component: &Component, is_insider: bool) -> Option<&str> {
    if component.status == Status::Healthy {
        return None;
    }
    component.error.as_deref().filter(|_| is_insider).or(component.reason)
}

/// Neither name may hold a colon.
fn key(component: &Component) -> String {
    let clean = |name: &str| name.replace(':', ".");
    match &component.parent {
        Some(parent) => format!("{}:{}", clean(parent), clean(&component.name)),
        None => {
            let measurement = measurement(component).map_or("responseTime", |(_, name, _)| name);
            format!("{}:{measurement}", clean(&component.name))
        }
    }
}

fn measurement(component: &Component) -> Option<(&Value, &'static str, &'static str)> {
    let find = |(detail, name, unit): &(&str, &'static str, &'static str)| {
        component.details.get(*detail).map(|value| (value, *name, *unit))
    };
    MEASUREMENTS.iter().find_map(find)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Healthy => "pass",
        Status::Degraded => "warn",
        Status::Unhealthy => "fail",
    }
}
