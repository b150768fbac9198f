//! What the monitor knows at one moment. A value: it does not change and holds no connection.

use std::time::Duration;

use db_core::Status;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The health of all components.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub at: Timestamp,
    /// The components, in the order of their checks.
    pub components: Vec<Component>,
}

/// The health of one component.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Whether the service cannot live without it.
    pub is_critical: bool,
    /// Whether it is a service of its own, such as a database, and not a part of this process.
    pub is_service: bool,
    /// How it is, damped.
    pub status: Status,
    /// A fixed word for what is wrong.
    pub reason: Option<&'static str>,
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
    /// The whole: unhealthy when a critical component is, degraded when anything is not healthy.
    #[must_use]
    pub fn status(&self) -> Status {
        let worst = |component: &Component| match component.status {
            Status::Unhealthy if !component.is_critical => Status::Degraded,
            status => status,
        };
        self.components.iter().map(worst).max().unwrap_or(Status::Healthy)
    }

    /// Whether the service can take requests: everything critical serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status() != Status::Unhealthy
    }
}
