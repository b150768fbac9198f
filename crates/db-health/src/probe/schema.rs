//! Whether migrations wait, and whether the schema is what they say. Both are told by whoever knows the migrations.

use std::fmt;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};

/// As many differences as a person reads at once; the others are counted.
const SHOWN: usize = 10;

/// Asks how many migrations are pending: degraded with `migrations_pending` when there are some. A rollout applies them before
/// or after the new program starts, so they do not make it unhealthy.
pub struct MigrationsProbe<F> {
    name: String,
    pending: F,
}

impl<F, Fut> MigrationsProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<usize>> + Send,
{
    /// A probe that awaits the number of pending migrations.
    #[must_use]
    pub fn new(name: impl Into<String>, pending: F) -> Self {
        Self { name: name.into(), pending }
    }
}

#[async_trait]
impl<F, Fut> Probe for MigrationsProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<usize>> + Send,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let pending = (self.pending)().await?;
        let finding = if pending == 0 { Finding::healthy() } else { Finding::degraded("migrations_pending") };
        Ok(finding.with("pending", pending))
    }
}

impl<F> fmt::Debug for MigrationsProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationsProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Asks where the schema differs from what it should be: degraded with `schema_drift` when it does. What an unexpected index
/// means for the service only a person can say, so it does not make it unhealthy.
///
/// A comparison reads the catalogue: give the check an interval of minutes, and a time limit that fits.
pub struct IntegrityProbe<F> {
    name: String,
    differences: F,
}

impl<F, Fut> IntegrityProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<Vec<String>>> + Send,
{
    /// A probe that awaits the differences, each in words, without secrets: insiders read the first ten.
    #[must_use]
    pub fn new(name: impl Into<String>, differences: F) -> Self {
        Self { name: name.into(), differences }
    }
}

#[async_trait]
impl<F, Fut> Probe for IntegrityProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<Vec<String>>> + Send,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let mut differences = (self.differences)().await?;
        let count = differences.len();
        differences.truncate(SHOWN);
        Ok(match count {
            0 => Finding::healthy().with("differences", 0),
            _ => Finding::degraded("schema_drift").with("differences", count).with("first", differences),
        })
    }
}

impl<F> fmt::Debug for IntegrityProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegrityProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn pending_migrations() {
        let check = async |pending, expect| {
            let found =
                MigrationsProbe::new("migrations", || ready(Ok(pending))).check().await.expect("a look");
            assert_eq!((found.reason, &found.details["pending"]), (expect, &pending.into()));
        };
        check(0, None).await;
        check(2, Some("migrations_pending")).await;
    }

    #[tokio::test]
    async fn differences_are_counted_and_few_are_shown() {
        let check = async |count: usize, expect, shown: usize| {
            let differences = || ready(Ok((0..count).map(|i| format!("index i{i} is missing")).collect()));
            let found = IntegrityProbe::new("schema", differences).check().await.expect("a look");
            let first = found.details.get("first").and_then(|first| first.as_array()).map_or(0, Vec::len);
            assert_eq!((found.reason, &found.details["differences"]), (expect, &count.into()));
            assert_eq!(first, shown);
        };
        check(0, None, 0).await;
        check(1, Some("schema_drift"), 1).await;
        check(50, Some("schema_drift"), 10).await;
    }
}
