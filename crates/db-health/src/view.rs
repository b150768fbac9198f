//! A snapshot as JSON, in the shapes that callers know. Pure functions; who may see the details is the caller's to say.

use db_core::Status;
use serde_json::{Map, Value, json};

use crate::{Component, Snapshot};

/// Who asks: a stranger gets statuses and fixed words, an insider figures and error texts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// Anybody.
    Stranger,
    /// Somebody who proved to belong here.
    Insider,
}

/// The short form: overall status, time, and for each component `connected` or `disconnected`.
#[must_use]
pub fn plain(snapshot: &Snapshot) -> Value {
    let word = |component: &Component| match component.status {
        Status::Unhealthy => "disconnected",
        Status::Healthy | Status::Degraded => "connected",
    };
    let services: Map<String, Value> = snapshot
        .components
        .iter()
        .filter(|component| component.is_service)
        .map(|component| (component.name.clone(), word(component).into()))
        .collect();
    json!({ "status": snapshot.status(), "timestamp": snapshot.at, "services": services })
}

/// The form of the health libraries that many services use: `status`, `info` (what is up), `error` (what is down) and
/// `details` (both).
#[must_use]
pub fn terminus(snapshot: &Snapshot, audience: Audience) -> Value {
    let (mut info, mut error, mut details) = (Map::new(), Map::new(), Map::new());
    for component in &snapshot.components {
        let entry = entry(component, audience);
        let side = if component.status == Status::Unhealthy { &mut error } else { &mut info };
        side.insert(component.name.clone(), entry.clone());
        details.insert(component.name.clone(), entry);
    }
    let status = if snapshot.is_ready() { "ok" } else { "error" };
    json!({
        "status": status,
        "health": snapshot.status(),
        "timestamp": snapshot.at,
        "info": info,
        "error": error,
        "details": details,
    })
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
    json!({ "status": status, "timestamp": snapshot.at, "checks": checks })
}

fn entry(component: &Component, audience: Audience) -> Value {
    let status = if component.status == Status::Unhealthy { "down" } else { "up" };
    let mut entry = Map::new();
    entry.insert("status".into(), status.into());
    if component.status == Status::Degraded {
        entry.insert("degraded".into(), true.into());
    }
    if let Some(reason) = component.reason {
        entry.insert("reason".into(), reason.into());
    }
    if audience == Audience::Insider {
        entry.extend(component.details.clone());
        if let Some(error) = &component.error {
            entry.insert("message".into(), error.as_str().into());
        }
    }
    Value::Object(entry)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn component(name: &str, status: Status) -> Component {
        let mut details = Map::new();
        details.insert("latency_ms".into(), json!(0.4));
        Component {
            name: name.to_owned(),
            is_critical: true,
            is_service: name != "pool",
            status,
            reason: (status != Status::Healthy).then_some("unreachable"),
            error: (status == Status::Unhealthy).then(|| "connection refused".to_owned()),
            details,
            latency: Duration::from_millis(1),
            age: Some(Duration::from_secs(1)),
        }
    }

    fn snapshot(postgres: Status) -> Snapshot {
        let components = vec![component("postgres", postgres), component("pool", Status::Degraded)];
        Snapshot { at: Timestamp::UNIX_EPOCH, components }
    }

    #[test]
    fn shapes() {
        let (up, down) = (snapshot(Status::Healthy), snapshot(Status::Unhealthy));
        insta::assert_json_snapshot!(
            "up",
            json!({
                "plain": plain(&up),
                "ready": ready(&up),
                "terminus, stranger": terminus(&up, Audience::Stranger),
                "terminus, insider": terminus(&up, Audience::Insider),
            })
        );
        insta::assert_json_snapshot!(
            "down",
            json!({
                "plain": plain(&down),
                "ready": ready(&down),
                "terminus, stranger": terminus(&down, Audience::Stranger),
                "terminus, insider": terminus(&down, Audience::Insider),
            })
        );
    }
}
