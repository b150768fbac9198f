//! The gate: first come, first served, bounded, counted, and of a width that can change. It knows nothing of connections.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Admits as many callers at once as it is wide, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Semaphore,
    places: Mutex<Places>,
    /// As in `places`, to be read by everybody.
    inside: AtomicU32,
    is_empty: Notify,
    waiting: AtomicUsize,
    /// Callers who waited and do so no longer.
    left: AtomicU64,
    queue_limit: usize,
}

#[derive(Debug)]
struct Places {
    /// Permits that exist, given out or not.
    existing: usize,
    /// Permits that were given out when the gate became narrower; they end with whoever has them.
    surplus: usize,
    /// Callers who were admitted and have not left.
    inside: u32,
}

/// Why nobody was admitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    QueueFull { waiting: usize },
    TimedOut { waited: Duration },
}

impl Gate {
    pub(crate) fn new(width: u32, queue_limit: usize) -> Self {
        Self {
            permits: Semaphore::new(width as usize),
            places: Mutex::new(Places { existing: width as usize, surplus: 0, inside: 0 }),
            inside: AtomicU32::new(0),
            is_empty: Notify::new(),
            waiting: AtomicUsize::new(0),
            left: AtomicU64::new(0),
            queue_limit,
        }
    }

    /// Waits for admission, to be given back by [`Gate::leave`]. Dropping the future gives up the place in the queue and
    /// nothing else.
    pub(crate) async fn admit(&self, deadline: Instant) -> Result<(), Refused> {
        if self.try_admit() {
            return Ok(());
        }
        let started = Instant::now();
        let _place = self.queue()?;
        loop {
            match timeout_at(deadline, self.permits.acquire()).await {
                Ok(Ok(permit)) => {
                    permit.forget();
                    // The gate may have become narrower after this place was given and before it was taken.
                    if self.enter() {
                        return Ok(());
                    }
                }
                Ok(Err(_)) => return Err(Refused::Closed),
                Err(_) => return Err(Refused::TimedOut { waited: started.elapsed() }),
            }
        }
    }

    /// Admits if a place is free. Never overtakes: a freed place goes to the first in the queue.
    pub(crate) fn try_admit(&self) -> bool {
        self.permits.try_acquire().map(|permit| permit.forget()).is_ok() && self.enter()
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        let mut places = self.places();
        places.inside -= 1;
        self.inside.store(places.inside, Ordering::SeqCst);
        if !places.end_surplus() {
            self.permits.add_permits(1);
        }
        if places.inside == 0 {
            self.is_empty.notify_waiters();
        }
    }

    /// Changes how many are admitted at once; zero lets nobody in from this moment on. Those who are in stay.
    pub(crate) fn set_width(&self, width: u32) {
        let width = width as usize;
        let mut places = self.places();
        places.surplus = 0;
        if width >= places.existing {
            self.permits.add_permits(width - places.existing);
            places.existing = width;
        } else {
            let excess = places.existing - width;
            let free = self.permits.forget_permits(excess);
            places.existing -= free;
            places.surplus = excess - free;
        }
    }

    /// Callers who were admitted and have not left.
    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    /// Waits until nobody is inside.
    pub(crate) async fn empty(&self) {
        loop {
            let is_empty = self.is_empty.notified();
            if self.inside() == 0 {
                return;
            }
            is_empty.await;
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many wait, and how many have waited and do so no longer.
    pub(crate) fn queue_now(&self) -> (u64, u64) {
        (self.waiting() as u64, self.left.load(Ordering::Relaxed))
    }

    /// Refuses everybody from now on, those who wait included.
    pub(crate) fn close(&self) {
        self.set_width(0);
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Takes the place that was given, if it still exists.
    fn enter(&self) -> bool {
        let mut places = self.places();
        if places.end_surplus() {
            return false;
        }
        places.inside += 1;
        self.inside.store(places.inside, Ordering::SeqCst);
        true
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> Result<Place<'_>, Refused> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(self);
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if waiting >= self.queue_limit {
            return Err(Refused::QueueFull { waiting });
        }
        Ok(place)
    }
}

impl Places {
    /// Ends a permit instead of giving it back, when there are more than the gate is wide.
    fn end_surplus(&mut self) -> bool {
        if self.surplus == 0 {
            return false;
        }
        self.surplus -= 1;
        self.existing -= 1;
        true
    }
}

/// A place in the queue; dropping it leaves the queue.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_and_says_how_long_it_is() {
        let gate = Gate::new(1, 1);
        gate.admit(soon()).await.expect("a free place");
        let (second, third) = tokio::join!(gate.admit(soon()), gate.admit(soon()));
        assert_eq!(second.err(), Some(Refused::TimedOut { waited: Duration::from_secs(1) }));
        assert_eq!(third.err(), Some(Refused::QueueFull { waiting: 1 }));
        assert_eq!(gate.waiting(), 0);
        gate.leave();
        assert!(gate.try_admit());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_leaves_the_queue() {
        let gate = Gate::new(1, 1);
        gate.admit(soon()).await.expect("a free place");
        let gave_up = tokio::time::timeout(Duration::from_millis(10), gate.admit(soon())).await;
        assert!(gave_up.is_err());
        assert_eq!(gate.waiting(), 0);
        gate.leave();
        assert!(gate.try_admit(), "the place is not lost");
    }

    #[tokio::test(start_paused = true)]
    async fn closing_refuses_those_who_wait() {
        let gate = Gate::new(1, 10);
        gate.admit(soon()).await.expect("a free place");
        let (waiting, ()) = tokio::join!(gate.admit(soon()), async {
            tokio::task::yield_now().await;
            gate.close();
        });
        assert_eq!(waiting.err(), Some(Refused::Closed));
        assert_eq!(gate.admit(soon()).await.err(), Some(Refused::Closed));
    }

    /// Whoever was given a place but has not taken it yet does not get in when the gate closes meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_given_can_still_be_taken_away() {
        let gate = Gate::new(1, 10);
        gate.admit(soon()).await.expect("a free place");
        let (admitted, ()) = tokio::join!(gate.admit(soon()), async {
            tokio::task::yield_now().await;
            gate.leave();
            gate.set_width(0);
            gate.empty().await;
        });
        assert!(matches!(admitted, Err(Refused::TimedOut { .. })), "{admitted:?}");
        assert_eq!(gate.inside(), 0);
        gate.set_width(1);
        assert!(gate.try_admit());
    }

    #[test]
    fn the_width_changes_while_places_are_taken() {
        let gate = Gate::new(3, 10);
        let free = || (0..20).take_while(|_| gate.try_admit()).count();
        assert_eq!(free(), 3);
        gate.set_width(1);
        gate.leave();
        gate.leave();
        assert_eq!(free(), 0, "these two places are gone");
        gate.leave();
        assert_eq!(free(), 1);
        gate.set_width(0);
        gate.set_width(2);
        assert_eq!(free(), 1, "one is still taken");
        gate.leave();
        gate.leave();
        gate.set_width(5);
        assert_eq!(free(), 5);
    }
}
