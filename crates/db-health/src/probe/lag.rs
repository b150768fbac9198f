//! How far a replica is behind. It is told; measuring is the business of whoever routes reads.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};

use super::seconds;

/// Compares a replica's lag with a limit: degraded with `lag` above it, with `lag_unknown` when there is no figure. Never
/// unhealthy: the primary can answer what the replica cannot.
pub struct LagProbe<F> {
    name: String,
    lag: F,
    limit: Duration,
}

impl<F: Fn() -> Option<Duration> + Send + Sync> LagProbe<F> {
    /// A probe that asks `lag`, which must not wait; of several replicas it may give the worst.
    #[must_use]
    pub fn new(name: impl Into<String>, lag: F) -> Self {
        Self { name: name.into(), lag, limit: Duration::from_secs(10) }
    }

    /// What is too far. Default 10 s: users notice that what they just wrote is missing, and routers commonly turn away there.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

#[async_trait]
impl<F: Fn() -> Option<Duration> + Send + Sync> Probe for LagProbe<F> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        Ok(judge((self.lag)(), self.limit))
    }
}

impl<F> fmt::Debug for LagProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LagProbe")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn judge(lag: Option<Duration>, limit: Duration) -> Finding {
    let finding = match lag {
        None => Finding::degraded("lag_unknown"),
        Some(lag) if lag > limit => Finding::degraded("lag"),
        Some(_) => Finding::healthy(),
    };
    finding.with("lag_s", lag.map(seconds)).with("limit_s", seconds(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit() {
        let check = |lag: Option<u64>, expect| {
            let found = judge(lag.map(Duration::from_millis), Duration::from_secs(10));
            assert_eq!(found.reason, expect, "{lag:?}");
        };
        check(Some(0), None);
        check(Some(10_000), None);
        check(Some(10_001), Some("lag"));
        check(None, Some("lag_unknown"));
    }
}
