//! What the monitor knows at one moment. A value: it does not change and holds no connection.

use std::time::Duration;

use db_core::Status;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::Aspect;

/// The health of all components.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub at: Timestamp,
    /// The components, in the order of their checks. It is a flat list; [`Component::parent`] says what belongs where.
    pub components: Vec<Component>,
    pub(crate) is_started: bool,
    pub(crate) is_shutting_down: bool,
}

/// The health of one component.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The name of the component that it is part of.
    pub parent: Option<String>,
    /// Whether what it belongs to, its parent or the service, cannot live without it.
    pub is_critical: bool,
    /// Whether it is a service of its own, such as a database, and not a part of this process.
    pub is_service: bool,
    /// What it says something about.
    pub aspect: Aspect,
    /// How it is, damped; with parts, not better than these allow.
    pub status: Status,
    /// A fixed word for what is wrong, be it here or in a part.
    pub reason: Option<&'static str>,
    /// How it is, damped, without regard to its parts.
    pub own_status: Status,
    /// A fixed word for what is wrong here.
    pub own_reason: Option<&'static str>,
    /// The error of the last look, for those who may see it.
    pub error: Option<String>,
    /// Figures, for those who may see them.
    pub details: Map<String, Value>,
    /// How long the last look took.
    pub latency: Duration,
    /// How long ago the last look ended; `None` before the first.
    pub age: Option<Duration>,
}

impl Snapshot {
    /// The whole: unhealthy when a critical component is or the service shuts down, degraded when anything is not healthy.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.is_shutting_down {
            return Status::Unhealthy;
        }
        self.roots().map(Component::weight).max().unwrap_or(Status::Healthy)
    }

    /// A fixed word for why the whole is not healthy: `shutting_down`, `starting` as long as it has not been well, else the
    /// reason of the worst component.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        let status = self.status();
        match status {
            Status::Healthy => None,
            _ if self.is_shutting_down => Some("shutting_down"),
            Status::Unhealthy if !self.is_started => Some("starting"),
            _ => self.roots().find(|component| component.weight() == status)?.reason,
        }
    }

    /// Whether the service can take requests: everything critical serves, and it does not shut down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status() != Status::Unhealthy
    }

    /// Whether every critical component has served at some time since the start. Once true it stays so.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.is_started
    }

    /// Whether [`Monitor::shut_down`](crate::Monitor::shut_down) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.is_shutting_down
    }

    /// The component of this name.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }

    /// The components that are part of no other.
    pub fn roots(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(|component| component.parent.is_none())
    }

    /// The components that are part of the one of this name, without the parts of these.
    pub fn parts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Component> {
        self.components.iter().filter(move |component| component.parent.as_deref() == Some(name))
    }
}

#[cfg(test)]
impl Snapshot {
    pub(crate) fn for_tests(components: Vec<Component>) -> Self {
        Self { at: Timestamp::UNIX_EPOCH, components, is_started: true, is_shutting_down: false }
    }
}

#[cfg(test)]
impl Component {
    /// A critical service; what is wrong with it is called like itself.
    pub(crate) fn for_tests(name: &str, status: Status) -> Self {
        let reason = (status != Status::Healthy).then(|| &*name.to_owned().leak());
        Self {
            name: name.to_owned(),
            parent: None,
            is_critical: true,
            is_service: true,
            aspect: Aspect::Connectivity,
            status,
            reason,
            own_status: status,
            own_reason: reason,
            error: None,
            details: Map::new(),
            latency: Duration::from_millis(1),
            age: Some(Duration::from_secs(1)),
        }
    }
}
