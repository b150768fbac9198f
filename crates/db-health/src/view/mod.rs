//! A snapshot as JSON, in the shapes that callers know. Pure functions; who may see the details is the caller's to say, and so
//! is the status code: 200 when [`Snapshot::is_ready`](crate::Snapshot::is_ready) and 503 when not, for
//! [`startup`] by [`Snapshot::is_started`](crate::Snapshot::is_started).
//!
//! | shape | for | how much it tells |
//! |---|---|---|
//! | [`plain`] | people and simple clients | a word per service |
//! | [`ready`], [`startup`] | orchestrators | what is not well, in fixed words |
//! | [`terminus`] | clients of the health libraries of other platforms | by audience |
//! | [`summary`] | operators | by audience, with recommendations |
//! | [`health_json`] | whoever accepts `application/health+json` | by audience |
//!
//! Liveness is none of these: it must not depend on any check, so it needs no snapshot.

mod health_json;
mod short;
mod summary;
mod terminus;

pub use health_json::{HEALTH_JSON, health_json};
pub use short::{plain, ready, startup};
pub use summary::summary;
pub use terminus::terminus;

use db_core::Status;
use serde_json::{Map, Value};

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

/// A component in the shapes that say `up` and `down`.
fn entry(component: &Component, audience: Audience) -> Value {
    let status = if component.status == Status::Unhealthy { "down" } else { "up" };
    let mut entry = Map::new();
    if audience == Audience::Insider {
        entry.extend(component.details.clone());
        if let Some(error) = &component.error {
            entry.insert("message".into(), error.as_str().into());
        }
    }
    // After the figures, which must not pass for these.
    entry.insert("status".into(), status.into());
    if component.status == Status::Degraded {
        entry.insert("degraded".into(), true.into());
    }
    if let Some(reason) = component.reason {
        entry.insert("reason".into(), reason.into());
    }
    if let Some(parent) = &component.parent {
        entry.insert("part_of".into(), parent.as_str().into());
    }
    Value::Object(entry)
}

/// Adds why the whole is not healthy, where that is more than its components say.
fn with_lifecycle(snapshot: &Snapshot, mut answer: Value) -> Value {
    let reason = snapshot.reason().filter(|_| !snapshot.is_ready());
    if let Some(reason) = reason.filter(|reason| ["starting", "shutting_down"].contains(reason)) {
        answer["reason"] = reason.into();
    }
    answer
}

#[cfg(test)]
mod tests;
