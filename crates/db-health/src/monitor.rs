//! Runs the checks in the background, each on its own task, and keeps their last results. How one looks is in `slot`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::slot::Slot;
use crate::tree::Tree;
use crate::{Changes, Check, Snapshot};

/// Checks under way. Dropping it stops them.
#[derive(Debug)]
pub struct Monitor {
    inner: Arc<Inner>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// What the monitor shares with its tasks and listeners.
#[derive(Debug)]
pub(crate) struct Inner {
    slots: Vec<Slot>,
    tree: Tree,
    beat: watch::Sender<Beat>,
    is_shutting_down: AtomicBool,
}

/// Moves whenever there may be something new to see.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    looks: u64,
    pub(crate) is_stopped: bool,
}

impl Monitor {
    /// Starts the checks; each looks at once and then at its interval.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(checks: Vec<Check>) -> Self {
        let (tree, refused) = Tree::new(&checks);
        for check in refused.iter().map(|place| &checks[*place]) {
            let (component, parent) = (check.name(), check.parent.as_deref());
            tracing::warn!(target: "db::health", component, parent, "part of nothing: no such check, or a circle");
        }
        let slots = checks.into_iter().map(Slot::new).collect();
        let (beat, is_shutting_down) = (watch::Sender::default(), AtomicBool::new(false));
        let inner = Arc::new(Inner { slots, tree, beat, is_shutting_down });
        let start = |place| AbortOnDropHandle::new(tokio::spawn(watch_over(Arc::clone(&inner), place)));
        let tasks = (0..inner.slots.len()).map(start).collect();
        Self { inner, tasks }
    }

    /// What is known now. Never waits, and asks nobody.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Waits until every check has looked at least once, or the monitor was stopped.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn first_looks(&self) {
        let has_ended = |beat: &Beat| beat.is_stopped || self.inner.slots.iter().all(Slot::has_looked);
        self.inner.beat.subscribe().wait_for(has_ended).await.ok();
    }

    /// Has all checks look now, at the same time, and gives what is known afterwards.
    ///
    /// A look that is under way counts: however many ask, and whenever the interval ends, there is never more than one look
    /// of a check at a time. The results are damped like all others. It takes no longer than the longest time limit of a
    /// check, twice. After [`Monitor::stop`] it looks all the same.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the looks that it began; they count as none.
    pub async fn run_now(&self) -> Snapshot {
        let look = async |place: usize| {
            // A probe that blocks its thread has no time limit of its own.
            let limit = self.inner.slots[place].check.timeout.saturating_mul(2);
            timeout(limit, self.inner.look(place)).await.ok();
        };
        join_all((0..self.inner.slots.len()).map(look)).await;
        self.snapshot()
    }

    /// Gives the changes of status from now on, of the components and of the whole.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(Arc::clone(&self.inner), self.inner.beat.subscribe())
    }

    /// The service begins to shut down: from now on it is not ready, so that whoever sends requests turns away before the
    /// doors close. The checks go on.
    pub fn shut_down(&self) {
        self.inner.is_shutting_down.store(true, Ordering::Relaxed);
        self.inner.beat.send_modify(|_| {});
    }

    /// Stops looking: the end. What is known ages from now on, until it is too old to be believed.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
        self.inner.beat.send_modify(|beat| beat.is_stopped = true);
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let name = |place: usize| self.slots[place].check.name();
        let component = |(place, slot): (usize, &Slot)| slot.component(self.tree.parent(place).map(name));
        let mut components: Vec<_> = self.slots.iter().enumerate().map(component).collect();
        self.tree.roll_up(&mut components);
        Snapshot {
            at: Timestamp::now(),
            components,
            is_started: (0..self.slots.len())
                .all(|place| self.slots[place].was_well() || !self.is_vital(place)),
            is_shutting_down: self.is_shutting_down.load(Ordering::Relaxed),
        }
    }

    /// Whether the service cannot live without it: all that it is part of is critical as well.
    fn is_vital(&self, place: usize) -> bool {
        self.tree.line(place).all(|place| self.slots[place].check.is_critical)
    }

    async fn look(&self, place: usize) {
        if self.slots[place].look().await {
            self.beat.send_modify(|beat| beat.looks += 1);
        }
    }
}

async fn watch_over(inner: Arc<Inner>, place: usize) {
    let mut ticks = interval(inner.slots[place].check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        inner.look(place).await;
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
