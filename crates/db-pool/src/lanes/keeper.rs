//! The keeper of a pool's lanes: closes those that are broken, gives back those that are worn out, unused, or needed by callers who
//! wait for a connection of their own. A task that lives as long as there are lanes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, timeout};

use super::lane::Lane;
use super::{Lanes, is_hopeless};
use crate::settings::moment_after;
use crate::shared::Shared;
use crate::wire::Effects;

/// The pause between two looks.
const TICK: Duration = Duration::from_millis(50);

/// A lane on which nothing has run for so long goes back to the pool.
const UNUSED: Duration = Duration::from_secs(10);

/// How long no lane is opened after one was given to callers who waited.
const AFTER_GIVING: Duration = Duration::from_secs(1);

/// How long no lane is opened after one was lost: not all pools at the same moment.
pub(super) fn after_a_loss() -> Duration {
    Duration::from_millis(rand::rng().random_range(50..250))
}

impl Lanes {
    /// Opens no lane for so long.
    pub(super) fn rest_for(&self, pause: Duration) {
        *self.not_before() = moment_after(pause);
    }

    /// Has a keeper look after the lanes.
    pub(super) fn keep(&self, shared: &Arc<Shared>) {
        if !self.is_kept.swap(true, Ordering::AcqRel) {
            shared.runtime.spawn(run(Arc::downgrade(shared)));
        }
        self.common.keeper.notify_one();
    }

    /// One look. Says whether there are lanes.
    fn look(&self, shared: &Arc<Shared>, queues: &mut Queues) -> bool {
        let now = Instant::now();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let mut leaving = self.leaving();
        let mut is_lost = false;
        open.retain(|lane| {
            is_lost |= !lane.session.is_usable();
            let stays = lane.session.is_usable() && !is_done(lane, now);
            if !stays {
                lane.leave();
                leaving.push(Arc::clone(lane));
            }
            stays
        });
        if is_lost {
            self.rest_for(after_a_loss());
        }
        let Wait { who, at_the_gate, starving } = queues.look(shared, now);
        // Who starves is told soon that the server refuses him.
        let is_urgent = at_the_gate >= shared.settings.acquire_timeout / 4 || starving >= TICK;
        let is_idle = |lane: &Arc<Lane>| lane.load() == 0 && lane.rested(now) >= TICK;
        let is_wanted = is_urgent || at_the_gate >= TICK && open.last().is_some_and(is_idle);
        let surplus = open.len().saturating_sub(self.most(shared));
        // One that leaves is for one who waits.
        let given = usize::from(is_wanted && leaving.len() < who);
        if is_urgent && given > surplus {
            self.rest_for(AFTER_GIVING);
        }
        for _ in 0..given.max(surplus) {
            if let Some(lane) = open.pop() {
                lane.leave();
                leaving.push(lane);
            }
        }
        for lane in open.iter().chain(&*leaving) {
            // The server ends what takes long. One that does not is not waited for any longer than on any connection.
            let silent = lane.session.patience().limit();
            if lane.load() > 0 && silent.is_some_and(|limit| lane.rested(now) > limit) {
                lane.session.abort();
            }
        }
        let is_short = shared.is_short();
        if open.iter().all(|lane| is_hopeless(lane, is_short, now)) {
            self.common.backlog.refuse_all();
        }
        leaving.retain(|lane| {
            let has_left = lane.has_left();
            if has_left {
                let (lane, limit) = (Arc::clone(lane), shared.settings.connect_timeout);
                shared.runtime.spawn(async move { lane.give_back(limit).await });
            }
            !has_left
        });
        let are_there_any = !open.is_empty() || !leaving.is_empty();
        drop((open, leaving));
        self.serve(now);
        are_there_any
    }
}

/// Whether a lane has done its work.
fn is_done(lane: &Lane, now: Instant) -> bool {
    let is_worn_out = lane.held().as_ref().is_none_or(|held| held.worn_out(now).is_some());
    // A function may have changed its session.
    is_worn_out
        || lane.session.wire.effects() != Effects::NONE
        || lane.load() == 0 && lane.rested(now) >= UNUSED
}

/// Lanes hold the pool, and must not do so for ever where the runtime ends before them.
struct Last(Weak<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let _runtime = shared.runtime.enter();
        shared.lanes.leave_all();
        for lane in std::mem::take(&mut *shared.lanes.leaving()) {
            drop(lane.held().take());
        }
    }
}

async fn run(shared: Weak<Shared>) {
    let mut last = Some(Last(Weak::clone(&shared)));
    let mut queues = Queues::default();
    loop {
        let keeper = {
            let Some(shared) = shared.upgrade() else { return };
            let lanes = &shared.lanes;
            if !lanes.look(&shared, &mut queues) {
                lanes.is_kept.store(false, Ordering::Release);
                // One may have been opened since the look, for which nobody else looks.
                if !lanes.look(&shared, &mut queues) || lanes.is_kept.swap(true, Ordering::AcqRel) {
                    std::mem::forget(last.take());
                    return;
                }
            }
            Arc::clone(&lanes.common.keeper)
        };
        timeout(TICK, keeper.notified()).await.ok();
    }
}

/// Those who wait for a connection of their own.
#[derive(Debug, Default)]
struct Queues {
    /// Until the pool admits them.
    at_the_gate: Queue,
    /// Inside, where the server refuses more.
    starving: Queue,
}

/// Who waits, and for how long, at least, somebody has waited who waits still.
struct Wait {
    who: usize,
    at_the_gate: Duration,
    starving: Duration,
}

impl Queues {
    fn look(&mut self, shared: &Shared, now: Instant) -> Wait {
        let (waiting, left) = shared.gate.queue_now();
        let at_the_gate = self.at_the_gate.saw(waiting, left, now);
        let (hungry, left) = shared.starving_now();
        let starving = self.starving.saw(hungry, left, now);
        Wait { who: usize::try_from(waiting + hungry).unwrap_or(usize::MAX), at_the_gate, starving }
    }
}

/// How long callers have waited, told from how many have left the queue: it is served in order. Who leaves it out of order makes the time
/// shorter, never longer.
#[derive(Debug, Default)]
struct Queue {
    /// Of each look, the number of callers that must have left until nobody who waited then waits any more.
    seen: VecDeque<(Instant, u64)>,
}

impl Queue {
    /// For how long, at least, somebody has waited who waits still.
    fn saw(&mut self, waiting: u64, left: u64, now: Instant) -> Duration {
        while self.seen.front().is_some_and(|(_, until)| *until <= left || waiting == 0) {
            self.seen.pop_front();
        }
        if waiting > 0 {
            self.seen.push_back((now, left + waiting));
        }
        self.seen.front().map_or(Duration::ZERO, |(since, _)| now - *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_the_first_has_waited_is_told_from_who_left() {
        let begin = Instant::now();
        let mut queue = Queue::default();
        let mut saw =
            |after, waiting, left| queue.saw(waiting, left, begin + Duration::from_millis(after)).as_millis();
        assert_eq!(saw(0, 0, 100), 0);
        assert_eq!(saw(50, 3, 100), 0);
        assert_eq!(saw(100, 4, 101), 50, "two of the three still wait");
        assert_eq!(saw(150, 4, 103), 50, "of the four that there were then, at 100, two wait");
        assert_eq!(saw(200, 1, 107), 0, "all of them were served");
        assert_eq!(saw(250, 1, 107), 50);
        assert_eq!(saw(300, 0, 108), 0);
    }
}
