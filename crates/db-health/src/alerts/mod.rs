//! Alerts: rules that are looked at in the background, and the sinks that hear of what they find. What a figure is worth
//! is for the rules to say; how a message gets out is for the sinks.

mod notice;
mod outlet;
mod presets;
mod rule;
#[cfg(feature = "webhook")]
mod signature;
mod sink;
mod tracker;
#[cfg(feature = "webhook")]
mod webhook;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use notice::Teller;
use outlet::Outlet;
use tracker::Tracker;

pub use notice::{Alert, AlertState, Notice, NoticeState};
pub use rule::{Reading, Rule};
#[cfg(feature = "webhook")]
pub use signature::{SignatureError, verify_signature};
pub use sink::{AlertSink, LogSink, Undelivered};
#[cfg(feature = "webhook")]
pub use webhook::{WebhookError, WebhookSink};

/// Rules that are looked at in the background. Dropping it stops them, and forgets what no sink has taken yet.
pub struct Alerts {
    shared: Arc<Shared>,
    rules: AbortOnDropHandle<()>,
}

struct Shared {
    teller: Teller,
    rules: Vec<Rule>,
    outlets: Vec<Outlet>,
    state: Mutex<State>,
}

struct State {
    /// One for each rule, in their order.
    trackers: Vec<Tracker>,
    is_closed: bool,
}

impl Alerts {
    /// Looks at `rules` now and at every `interval` from then on (1 ms at least), and tells all `sinks`, each on a task of its own.
    /// `service` is the name by which those who hear an alert know this program.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(
        service: impl Into<String>,
        rules: Vec<Rule>,
        interval: Duration,
        sinks: Vec<Arc<dyn AlertSink>>,
    ) -> Self {
        let now = Timestamp::now();
        let shared = Arc::new(Shared {
            teller: Teller { service: service.into(), instance: Uuid::now_v7().to_string() },
            state: Mutex::new(State {
                trackers: rules.iter().map(|_| Tracker::new(now)).collect(),
                is_closed: false,
            }),
            rules,
            outlets: sinks.into_iter().map(Outlet::open).collect(),
        });
        let rules = tokio::spawn(look_on(Arc::clone(&shared), interval.max(Duration::from_millis(1))));
        Self { shared, rules: AbortOnDropHandle::new(rules) }
    }

    /// All alerts and how they stand, in the order of their rules. Never waits.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Alert> {
        let state = self.shared.state();
        let entries = self.shared.rules.iter().zip(&state.trackers);
        entries.map(|(rule, tracker)| tracker.show(rule)).collect()
    }

    /// The alerts that fire. Never waits.
    #[must_use]
    pub fn active(&self) -> Vec<Alert> {
        self.snapshot().into_iter().filter(|alert| alert.state == AlertState::Firing).collect()
    }

    /// Stops looking, and waits no longer than `limit` until the sinks have taken what was to be told. Returns how many messages
    /// were lost; one that was on its way may have arrived all the same. Nothing is told afterwards.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rules stopped and the sinks at work; it may be called again.
    pub async fn close(&self, limit: Duration) -> usize {
        self.shared.state().is_closed = true;
        self.rules.abort();
        let outlets = &self.shared.outlets;
        let done = join_all(outlets.iter().map(Outlet::drained));
        timeout(limit, done).await.ok();
        outlets.iter().map(Outlet::close).sum()
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.shared.rules.iter().map(|rule| &rule.name).collect();
        f.debug_struct("Alerts").field("service", &self.shared.teller.service).field("rules", &rules).finish()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every rule once.
    fn look(&self, now: Instant, at: Timestamp) {
        for (index, rule) in self.rules.iter().enumerate() {
            // Outside the lock: it is code of others.
            let reading = catch_unwind(AssertUnwindSafe(|| rule.read())).unwrap_or_else(|_| {
                tracing::warn!(target: "db::alert", alert = rule.name, "the measure of a rule panicked");
                None
            });
            let mut state = self.state();
            if state.is_closed {
                return;
            }
            let tracker = &mut state.trackers[index];
            let Some(told) = tracker.feed(rule, reading, now, at) else { continue };
            let notice = tracker.tell(rule, told, at, &self.teller);
            // Outside the lock: who hears of it may ask how alerts stand.
            drop(state);
            self.outlets.iter().for_each(|outlet| outlet.push(notice.clone()));
        }
    }
}

async fn look_on(shared: Arc<Shared>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.look(Instant::now(), Timestamp::now());
    }
}

/// The rules that most services want, over figures of the caller's choice.
pub mod rules {
    pub use super::presets::{
        average_latency, component_unhealthy, connect_failures, error_rate, pool_utilization, replica_lag,
        retries,
    };
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
