//! Runs the checks in the background, each on its own task, and keeps their last results.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_core::{Finding, Status};
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::damper::Damper;
use crate::{Check, Component, Snapshot};

/// A result that is older than this many intervals, and the time limit of a look, is not believed any more.
const STALE_AFTER: u32 = 3;

/// Checks under way. Dropping it stops them.
#[derive(Debug)]
pub struct Monitor {
    slots: Vec<Arc<Slot>>,
    looks: watch::Receiver<u64>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// One check and its last result.
#[derive(Debug)]
struct Slot {
    check: Check,
    last: Mutex<Option<Look>>,
}

/// The result of one look.
#[derive(Clone, Debug)]
struct Look {
    ended: Instant,
    latency: Duration,
    reported: Status,
    finding: Finding,
    error: Option<String>,
}

impl Monitor {
    /// Starts the checks; each looks at once and then at its interval.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(checks: Vec<Check>) -> Self {
        let counter = watch::Sender::new(0);
        let looks = counter.subscribe();
        let counter = Arc::new(counter);
        let slots: Vec<_> =
            checks.into_iter().map(|check| Arc::new(Slot { check, last: Mutex::new(None) })).collect();
        let start = |slot: &Arc<Slot>| tokio::spawn(watch_over(Arc::clone(slot), Arc::clone(&counter)));
        let tasks = slots.iter().map(|slot| AbortOnDropHandle::new(start(slot))).collect();
        Self { slots, looks, tasks }
    }

    /// Stops looking. What is known ages from now on, until it is too old to be believed.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    /// What is known now. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: Timestamp::now(),
            components: self.slots.iter().map(|slot| slot.component()).collect(),
        }
    }

    /// Waits until every check has looked at least once.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn first_looks(&self) {
        let mut looks = self.looks.clone();
        while self.slots.iter().any(|slot| slot.last().is_none()) {
            if looks.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn watch_over(slot: Arc<Slot>, counter: Arc<watch::Sender<u64>>) {
    let check = &slot.check;
    let mut damper = Damper::new(check.fail_after, check.recover_after);
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let (finding, error) = look(check).await;
        let reported = damper.feed(finding.status);
        let look = Look { ended: Instant::now(), latency: started.elapsed(), reported, finding, error };
        slot.store(look);
        counter.send_modify(|looks| *looks += 1);
    }
}

/// Looks once, within the time limit. A probe that panics is a probe that failed.
async fn look(check: &Check) -> (Finding, Option<String>) {
    match timeout(check.timeout, AssertUnwindSafe(check.probe.check()).catch_unwind()).await {
        Ok(Ok(Ok(finding))) => (finding, None),
        Ok(Ok(Err(error))) => (Finding::unhealthy("unreachable"), Some(error.to_string())),
        Ok(Err(_)) => (Finding::unhealthy("panicked"), Some("the check panicked".to_owned())),
        Err(_) => {
            let error = format!("no answer within {:?}", check.timeout);
            (Finding::unhealthy("timeout"), Some(error))
        }
    }
}

impl Slot {
    fn last(&self) -> Option<Look> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn store(&self, look: Look) {
        let name = self.check.probe.name();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.as_ref().map(|look| look.reported);
        let error = look.error.as_deref();
        match look.reported {
            now if before == Some(now) => {}
            Status::Unhealthy => tracing::warn!(target: "db::health", component = name, error, "unhealthy"),
            now if before.is_some() => {
                tracing::info!(target: "db::health", component = name, status = %now, "changed")
            }
            _ => {}
        }
        *last = Some(look);
    }

    fn component(&self) -> Component {
        let name = self.check.probe.name().to_owned();
        let Check { is_critical, is_service, .. } = self.check;
        let Some(look) = self.last() else {
            return Component {
                name,
                is_critical,
                is_service,
                status: Status::Unhealthy,
                reason: Some("starting"),
                error: None,
                details: Default::default(),
                latency: Duration::ZERO,
                age: None,
            };
        };
        let age = look.ended.elapsed();
        let is_stale =
            age > self.check.interval.saturating_mul(STALE_AFTER).saturating_add(self.check.timeout);
        let (status, reason) = if is_stale {
            (Status::Unhealthy, Some("stale"))
        } else {
            // A reason belongs to what was seen last; while damping holds another status there is none to give.
            (look.reported, look.finding.reason.filter(|_| look.reported == look.finding.status))
        };
        Component {
            name,
            is_critical,
            is_service,
            status,
            reason,
            error: look.error,
            details: look.finding.details,
            latency: look.latency,
            age: Some(age),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use db_core::{Probe, Result};

    use super::*;
    use crate::FnProbe;

    /// Looks well the first time, then never answers.
    struct Hangs(AtomicU32);

    #[async_trait]
    impl Probe for Hangs {
        fn name(&self) -> &str {
            "hangs"
        }

        async fn check(&self) -> Result<Finding> {
            if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
            Ok(Finding::healthy())
        }
    }

    fn status(monitor: &Monitor) -> (Status, Option<&'static str>) {
        let snapshot = monitor.snapshot();
        (snapshot.components[0].status, snapshot.components[0].reason)
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_look_nothing_is_claimed() {
        let monitor = Monitor::start(vec![Check::new(Hangs(AtomicU32::new(1)))]);
        assert_eq!(status(&monitor), (Status::Unhealthy, Some("starting")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_becomes_unhealthy_by_its_time_limit() {
        let monitor = Monitor::start(vec![Check::new(Hangs(AtomicU32::new(0)))]);
        monitor.first_looks().await;
        assert_eq!(status(&monitor), (Status::Healthy, None));
        // Three looks, 2 s apart or as long as the limit of 1 s makes them.
        tokio::time::sleep(Duration::from_millis(7_100)).await;
        assert_eq!(status(&monitor), (Status::Unhealthy, Some("timeout")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_that_is_too_old_is_not_believed() {
        let check = Check::new(Hangs(AtomicU32::new(0))).interval(Duration::from_secs(10));
        let monitor = Monitor::start(vec![check]);
        monitor.first_looks().await;
        monitor.stop();
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(status(&monitor), (Status::Healthy, None));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status(&monitor), (Status::Unhealthy, Some("stale")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_panics_is_a_failure_and_is_asked_again() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let probe = FnProbe::new("panics", move || {
            assert_ne!(seen.fetch_add(1, Ordering::Relaxed), 0, "the first look panics");
            Finding::healthy()
        });
        let monitor = Monitor::start(vec![Check::new(probe)]);
        monitor.first_looks().await;
        assert_eq!(status(&monitor), (Status::Unhealthy, Some("panicked")));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(status(&monitor), (Status::Healthy, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_critical_only_degrades_the_whole() {
        let probe = || FnProbe::new("replica", || Finding::unhealthy("lag"));
        let whole = async |check| {
            let monitor = Monitor::start(vec![check]);
            monitor.first_looks().await;
            monitor.snapshot().status()
        };
        assert_eq!(whole(Check::new(probe()).non_critical()).await, Status::Degraded);
        assert_eq!(whole(Check::new(probe())).await, Status::Unhealthy);
    }
}
