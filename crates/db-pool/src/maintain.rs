//! Upkeep in the background: closes what nobody needs, down to the minimum, keeps what is idle alive, fills up to the
//! minimum, and tells of connections that do not come back. It takes only connections that nobody waits for.

use std::sync::{Arc, Weak};
use std::time::Duration;

use db_core::{CloseReason, Leaked};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::checkout::{Pooled, is_alive};
use crate::physical::About;
use crate::settings::moment_after;
use crate::shared::Shared;

/// The pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause of filling while the server cannot be reached. Callers open what they need without waiting for it.
const LONGEST: Duration = Duration::from_secs(30);

/// The upkeep of a pool, which ends with its last user; so do its lanes, which hold it as other users do.
pub(crate) struct Upkeep {
    task: AbortOnDropHandle<()>,
    shared: Weak<Shared>,
}

impl Upkeep {
    pub(crate) fn start(shared: &Arc<Shared>) -> Arc<Self> {
        let task = AbortOnDropHandle::new(tokio::spawn(run(Arc::downgrade(shared))));
        Arc::new(Self { task, shared: Arc::downgrade(shared) })
    }

    pub(crate) fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lanes.leave_all();
        }
    }
}

/// Runs until the pool is gone.
async fn run(shared: Weak<Shared>) {
    let (mut pause, mut fill_at) = (Duration::ZERO, Instant::now());
    loop {
        let interval = {
            let Some(shared) = shared.upgrade() else { return };
            if shared.gate.is_closed() {
                return;
            }
            report_leaks(&shared);
            expire(&shared);
            keep_alive(&shared).await;
            if Instant::now() >= fill_at {
                pause =
                    if fill(&shared).await { Duration::ZERO } else { LONGEST.min((pause * 2).max(INTERVAL)) };
                fill_at = Instant::now() + pause;
            }
            interval(&shared)
        };
        wait(&shared, interval).await;
    }
}

/// The pause until the next round, or until there is something to do.
async fn wait(shared: &Weak<Shared>, interval: Duration) {
    // Not to be what keeps a pool alive that everybody else has dropped: only for a moment.
    let Some(shared) = shared.upgrade() else { return };
    let notified = timeout(interval, shared.upkeep.notified());
    notified.await.ok();
}

/// Short enough for the shortest of the times that are watched.
fn interval(shared: &Shared) -> Duration {
    let settings = &shared.settings;
    let watched = [settings.idle_timeout, settings.keep_alive, settings.leak_warning, settings.max_lifetime];
    let shortest = watched.into_iter().filter(|time| !time.is_zero()).min().unwrap_or(INTERVAL);
    INTERVAL.min(shortest / 2).max(Duration::from_millis(10))
}

fn report_leaks(shared: &Shared) {
    let limit = shared.settings.leak_warning;
    if limit.is_zero() {
        return;
    }
    let About { pool, observer, .. } = &*shared.about;
    for (place, held) in shared.register.overdue(limit) {
        observer.leaked(&Leaked::new(pool, place, held));
    }
}

/// A connection that is idle, while it is looked at.
struct Idle {
    physical: Option<Pooled>,
    shared: Arc<Shared>,
}

impl Idle {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        Some(Self { physical: Some(shared.take_idle()?), shared: Arc::clone(shared) })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(physical) = self.physical.take() {
            self.shared.put_back(physical);
        }
    }
}

/// Takes out what is idle and free, and puts it back in the order in which it lay there.
fn each_idle(shared: &Arc<Shared>, mut look: impl FnMut(&mut Pooled)) {
    let mut taken = Vec::new();
    while let Some(mut idle) = Idle::take(shared) {
        if let Some(physical) = &mut idle.physical {
            look(physical);
        }
        taken.push(idle);
    }
    // The store is a stack: the one used last went out first and goes back last.
    while taken.pop().is_some() {}
}

/// Closes idle connections that are worn out, or that have been idle too long while more than the minimum are open.
fn expire(shared: &Arc<Shared>) {
    let (min, now) = (shared.min(), Instant::now());
    let mut open = shared.seats.open();
    each_idle(shared, |physical| {
        let is_unneeded = open > min && now - physical.idle_since >= shared.settings.idle_timeout;
        physical.discard = physical.worn_out(now).or(is_unneeded.then_some(CloseReason::Idle));
        if physical.discard.is_some() {
            open = open.saturating_sub(1);
        }
    });
}

/// Asks idle connections for a sign of life, all at once.
async fn keep_alive(shared: &Arc<Shared>) {
    let every = shared.settings.keep_alive;
    if every.is_zero() {
        return;
    }
    let (mut due, mut others) = (Vec::new(), Vec::new());
    let now = Instant::now();
    while let Some(idle) = Idle::take(shared) {
        match &idle.physical {
            Some(physical) if now - physical.last_ok >= every => due.push(idle),
            _ => others.push(idle),
        }
    }
    while others.pop().is_some() {}
    let limit = moment_after(shared.settings.check_timeout);
    let checks =
        due.iter_mut().filter_map(|idle| idle.physical.as_mut()).map(|physical| is_alive(physical, limit));
    join_all(checks).await;
    while due.pop().is_some() {}
}

/// Opens connections up to the minimum, and says whether the server let it.
pub(crate) async fn fill(shared: &Arc<Shared>) -> bool {
    let (one, other) = join(fill_one_by_one(shared), fill_one_by_one(shared)).await;
    one && other
}

async fn fill_one_by_one(shared: &Arc<Shared>) -> bool {
    while !shared.gate.is_closed()
        && let Some(seat) = shared.seats.take(shared.min())
    {
        match shared.connector.open(seat).await {
            Ok(physical) => shared.add(physical),
            Err(_) => {
                // Its seat was not there for a caller who came meanwhile.
                shared.open_more();
                return false;
            }
        }
    }
    true
}

impl Shared {
    /// Closes idle connections beyond the maximum.
    pub(crate) fn close_surplus(self: &Arc<Self>) {
        while self.seats.taken() > self.seats.max()
            && let Some(mut physical) = self.take_idle()
        {
            physical.discard = Some(CloseReason::Resized);
            self.put_back(physical);
        }
    }
}
