//! How often a migration is begun anew while others use its tables. Everybody who comes after it waits behind it, so
//! between two attempts it stays away for as long as it has waited, and longer each time.

use std::time::Duration;

use db_core::Executor;
use tokio::time::{Instant, sleep};

use crate::lock::Fence;
use crate::runner::Context;
use crate::session::Limits;
use crate::{Blocker, PlannedStep, Retrying};

pub(crate) struct Patience {
    /// None is for ever.
    until: Option<Instant>,
    pause: Duration,
    attempts: u32,
}

/// The longest pause between two attempts, on average.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The shortest, against a busy loop when the limit is tiny or when a deadlock was found.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

impl Patience {
    pub(crate) fn new(limit: Duration, limits: &Limits) -> Self {
        let pause = limits.lock_timeout.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        Self { until: Instant::now().checked_add(limit), pause, attempts: 1 }
    }

    /// Stays away for a while and says so; false when the patience is at its end.
    pub(crate) async fn pause(
        &mut self,
        context: &Context<'_>,
        step: &PlannedStep<'_>,
        blockers: &[Blocker],
    ) -> bool {
        let pause = self.pause.mul_f64(0.5 + fastrand::f64());
        let left = self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        if pause >= left {
            return false;
        }
        self.attempts += 1;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let event = Retrying { file: step.file, attempt: self.attempts, pause, left, blockers };
        context.progress.retrying(&event);
        // The attempt that failed took back its renewal.
        if let Fence::Lease { renewal, .. } = &context.fence
            && let Err(error) = Executor::batch_execute(context.client, renewal).await
        {
            tracing::debug!(target: "db::migrate", %error, "lease not renewed");
        }
        sleep(pause).await;
        true
    }
}
