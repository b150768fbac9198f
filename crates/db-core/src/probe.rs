//! One health check, as a trait that anybody can implement. Scheduling and damping are `db-health`'s.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Result;

/// A health check of one component.
///
/// An error counts as [`Status::Unhealthy`]. The caller sets a time limit: an implementation may be dropped at any
/// await.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Name of the component, as it appears in answers.
    fn name(&self) -> &str;

    /// Looks once.
    ///
    /// # Errors
    /// When the component cannot be reached.
    async fn check(&self) -> Result<Finding>;
}

#[async_trait]
impl<P: Probe + ?Sized> Probe for Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn check(&self) -> Result<Finding> {
        (**self).check().await
    }
}

/// How a component is, worst last. Complete: every answer has exactly these three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Healthy,
    /// It serves, but somebody should look.
    Degraded,
    /// It does not serve.
    Unhealthy,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// How the component is.
    pub status: Status,
    /// A fixed word for strangers and for alerts, such as `lag`; never a driver's text.
    pub reason: Option<&'static str>,
    /// Figures for those who may see them.
    pub details: Map<String, Value>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn healthy() -> Self {
        Self { status: Status::Healthy, reason: None, details: Map::new() }
    }

    /// It serves, but somebody should look.
    #[must_use]
    pub fn degraded(reason: &'static str) -> Self {
        Self { status: Status::Degraded, reason: Some(reason), details: Map::new() }
    }

    /// It does not serve.
    #[must_use]
    pub fn unhealthy(reason: &'static str) -> Self {
        Self { status: Status::Unhealthy, reason: Some(reason), details: Map::new() }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}
