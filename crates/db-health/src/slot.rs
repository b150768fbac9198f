//! One check and its last result: looking, within the time limit and by one at a time, and what to believe of it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use db_core::{Finding, Status};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::damper::Damper;
use crate::{Check, Component, reason};

/// A result that is older than this many intervals, and the time limit of a look, is not believed any more.
const STALE_AFTER: u32 = 3;

/// One check and its last result.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) check: Check,
    last: Mutex<Option<Look>>,
    /// Held while looking, whoever asked for it.
    looking: tokio::sync::Mutex<Damper>,
    looks: AtomicU64,
    was_well: AtomicBool,
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

impl Slot {
    pub(crate) fn new(check: Check) -> Self {
        let damper = Damper::new(check.fail_after, check.recover_after);
        Self {
            check,
            last: Mutex::new(None),
            looking: tokio::sync::Mutex::new(damper),
            looks: AtomicU64::new(0),
            was_well: AtomicBool::new(false),
        }
    }

    /// Looks, or waits for the end of a look that is under way. Says whether it has looked itself.
    ///
    /// Dropping it gives up the look, which then counts as none.
    pub(crate) async fn look(&self) -> bool {
        let before = self.looks.load(Ordering::Acquire);
        let mut damper = self.looking.lock().await;
        if self.looks.load(Ordering::Acquire) != before {
            return false;
        }
        let started = Instant::now();
        let (finding, error) = look(&self.check).await;
        let reported = damper.feed(finding.status);
        self.store(&Look { ended: Instant::now(), latency: started.elapsed(), reported, finding, error });
        self.looks.fetch_add(1, Ordering::Release);
        true
    }

    pub(crate) fn has_looked(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the component has served at any time since the start.
    pub(crate) fn was_well(&self) -> bool {
        self.was_well.load(Ordering::Relaxed)
    }

    fn store(&self, look: &Look) {
        if look.reported != Status::Unhealthy {
            self.was_well.store(true, Ordering::Relaxed);
        }
        let name = self.check.name();
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.replace(look.clone()).map(|before| before.reported)
        };
        // Outside the lock: who writes the log may ask how the components are.
        let (reason, error) = (look.finding.reason, look.error.as_deref());
        match look.reported {
            now if before == Some(now) => {}
            Status::Unhealthy => {
                tracing::warn!(target: "db::health", component = name, reason, error, "unhealthy");
            }
            now if before.is_some() => {
                tracing::info!(target: "db::health", component = name, status = %now, reason, "changed");
            }
            _ => {}
        }
    }

    /// What is believed of it now, without regard to what belongs to it.
    pub(crate) fn component(&self, parent: Option<&str>) -> Component {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Check { is_critical, is_service, .. } = self.check;
        let (status, reason) = self.verdict(last.as_ref());
        let (error, details, latency, age) = match last {
            Some(look) => (look.error, look.finding.details, look.latency, Some(look.ended.elapsed())),
            None => (None, Default::default(), Duration::ZERO, None),
        };
        Component {
            name: self.check.name().to_owned(),
            parent: parent.map(str::to_owned),
            is_critical,
            is_service,
            aspect: self.check.aspect_or_default(),
            status,
            reason,
            own_status: status,
            own_reason: reason,
            error,
            details,
            latency,
            age,
        }
    }

    fn verdict(&self, last: Option<&Look>) -> (Status, Option<&'static str>) {
        let Some(look) = last else { return (Status::Unhealthy, Some("starting")) };
        let limit = self.check.interval.saturating_mul(STALE_AFTER).saturating_add(self.check.timeout);
        if look.ended.elapsed() > limit {
            return (Status::Unhealthy, Some("stale"));
        }
        // A reason belongs to what was seen last; while damping holds another status it is none of that one.
        let reason = match look.reported {
            reported if reported == look.finding.status => look.finding.reason,
            Status::Unhealthy => Some("recovering"),
            _ => None,
        };
        (look.reported, reason)
    }
}

/// Looks once, within the time limit. A probe that panics is a probe that failed.
async fn look(check: &Check) -> (Finding, Option<String>) {
    match timeout(check.timeout, AssertUnwindSafe(check.probe.check()).catch_unwind()).await {
        Ok(Ok(Ok(finding))) => (finding, None),
        Ok(Ok(Err(error))) => (Finding::unhealthy(reason::of(&error)), Some(error.to_string())),
        Ok(Err(_)) => (Finding::unhealthy("panicked"), Some("the check panicked".to_owned())),
        Err(_) => {
            let error = format!("no answer within {:?}", check.timeout);
            (Finding::unhealthy("timeout"), Some(error))
        }
    }
}
