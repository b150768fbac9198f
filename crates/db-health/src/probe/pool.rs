//! Whether a pool is saturated, over time. It is told the figures and knows no pool.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};
use tokio::time::Instant;

use super::seconds;

/// The figures of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Connections that are open.
    pub total: u32,
    /// Of these, those that nobody uses.
    pub idle: u32,
    /// Of these, those in use.
    pub in_use: u32,
    /// Callers that wait for one.
    pub waiting: u32,
    /// The most connections that it may hold.
    pub max: u32,
    /// The connections that it keeps ready.
    pub min: u32,
    /// Whether somebody paused it.
    pub is_paused: bool,
}

/// Looks at a pool's figures: degraded with `saturated` when all connections were in use with callers waiting at every look for
/// longer than a limit, and with `paused` while it is paused. Never unhealthy: a pool that is busy serves.
///
/// Make the check [internal and not critical](crate::Check::internal).
pub struct PoolProbe<F> {
    name: String,
    figures: F,
    limit: Duration,
    saturation: Mutex<Saturation>,
}

impl<F: Fn() -> PoolFigures + Send + Sync> PoolProbe<F> {
    /// A probe that asks `figures`, which must neither wait nor use the pool.
    #[must_use]
    pub fn new(name: impl Into<String>, figures: F) -> Self {
        let limit = Duration::from_secs(10);
        Self { name: name.into(), figures, limit, saturation: Mutex::default() }
    }

    /// For how long it may be saturated. Default 10 s: a burst that a queue swallows is what queues are for, while after 10 s the
    /// first callers lose their patience. With zero the first look counts.
    #[must_use]
    pub fn saturated_after(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

#[async_trait]
impl<F: Fn() -> PoolFigures + Send + Sync> Probe for PoolProbe<F> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let figures = (self.figures)();
        let lasts =
            self.saturation.lock().unwrap_or_else(PoisonError::into_inner).feed(&figures, Instant::now());
        Ok(judge(&figures, lasts, self.limit))
    }
}

impl<F> fmt::Debug for PoolProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolProbe")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Since when every look has seen it saturated.
#[derive(Debug, Default)]
struct Saturation(Option<Instant>);

impl Saturation {
    /// Takes in a look and says for how long it has been so.
    fn feed(&mut self, figures: &PoolFigures, now: Instant) -> Option<Duration> {
        let is_saturated = figures.waiting > 0 && figures.in_use >= figures.max;
        self.0 = is_saturated.then(|| self.0.unwrap_or(now));
        self.0.map(|since| now - since)
    }
}

fn judge(figures: &PoolFigures, saturated: Option<Duration>, limit: Duration) -> Finding {
    let finding = match saturated {
        _ if figures.is_paused => Finding::degraded("paused"),
        Some(lasts) if lasts >= limit => Finding::degraded("saturated"),
        _ => Finding::healthy(),
    };
    let PoolFigures { total, idle, in_use, waiting, max, min, is_paused: _ } = *figures;
    let percent = if max == 0 { 0.0 } else { f64::from(in_use) * 100.0 / f64::from(max) };
    let finding = finding
        .with("total", total)
        .with("idle", idle)
        .with("active", in_use)
        .with("waiting", waiting)
        .with("max", max)
        .with("min", min)
        .with("utilization", (percent * 10.0).round() / 10.0);
    match saturated {
        Some(lasts) => finding.with("saturated_s", seconds(lasts)),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: PoolFigures =
        PoolFigures { total: 3, idle: 0, in_use: 3, waiting: 1, max: 3, min: 0, is_paused: false };
    const BUSY: PoolFigures = PoolFigures { waiting: 0, ..FULL };

    /// Looks 4 s apart, with a limit of 10 s.
    fn check(looks: &[PoolFigures], expect: Option<&str>) {
        let (mut saturation, start) = (Saturation::default(), Instant::now());
        let mut last = Finding::healthy();
        for (look, figures) in (0..).zip(looks) {
            let lasts = saturation.feed(figures, start + Duration::from_secs(4 * look));
            last = judge(figures, lasts, Duration::from_secs(10));
        }
        assert_eq!(last.reason, expect, "{looks:?}");
    }

    #[test]
    fn saturated_only_when_it_lasts() {
        check(&[FULL], None);
        check(&[FULL, FULL, FULL], None);
        check(&[FULL, FULL, FULL, FULL], Some("saturated"));
        check(&[FULL, FULL, BUSY, FULL], None);
        check(&[FULL, FULL, FULL, FULL, BUSY], None);
        check(&[BUSY, BUSY, BUSY, BUSY, BUSY], None);
        check(&[PoolFigures { is_paused: true, ..BUSY }], Some("paused"));
    }

    #[test]
    fn figures() {
        let finding = judge(&PoolFigures { in_use: 1, idle: 2, ..FULL }, None, Duration::ZERO);
        let expect = serde_json::json!({
            "total": 3, "idle": 2, "active": 1, "waiting": 1, "max": 3, "min": 0, "utilization": 33.3,
        });
        assert_eq!(serde_json::Value::from(finding.details), expect);
        assert_eq!(judge(&PoolFigures::default(), None, Duration::ZERO).details["utilization"], 0.0);
    }
}
