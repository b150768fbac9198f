//! The gate: first come, first served, bounded, counted. It knows nothing of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Admits at most `max` callers at once, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_limit: usize,
}

/// Why nobody was admitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    QueueFull { waiting: usize },
    TimedOut { waited: Duration },
}

impl Gate {
    pub(crate) fn new(max: u32, queue_limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max as usize)), waiting: AtomicUsize::new(0), queue_limit }
    }

    /// Waits for admission. Dropping the future gives up the place in the queue and nothing else.
    pub(crate) async fn admit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Refused> {
        if let Some(permit) = self.try_admit() {
            return Ok(permit);
        }
        let started = Instant::now();
        let _place = self.queue()?;
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Refused::Closed),
            Err(_) => Err(Refused::TimedOut { waited: started.elapsed() }),
        }
    }

    /// Admits if a place is free. Never overtakes: a freed place goes to the first in the queue.
    pub(crate) fn try_admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Refuses everybody from now on, those who wait included.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
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

/// A place in the queue; dropping it leaves the queue.
struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
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
        let held = gate.admit(soon()).await.expect("a free place");
        let (second, third) = tokio::join!(gate.admit(soon()), gate.admit(soon()));
        assert_eq!(second.err(), Some(Refused::TimedOut { waited: Duration::from_secs(1) }));
        assert_eq!(third.err(), Some(Refused::QueueFull { waiting: 1 }));
        assert_eq!(gate.waiting(), 0);
        drop(held);
        assert!(gate.try_admit().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_leaves_the_queue() {
        let gate = Gate::new(1, 1);
        let _held = gate.admit(soon()).await.expect("a free place");
        let gave_up = tokio::time::timeout(Duration::from_millis(10), gate.admit(soon())).await;
        assert!(gave_up.is_err());
        assert_eq!(gate.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_refuses_those_who_wait() {
        let gate = Gate::new(1, 10);
        let _held = gate.admit(soon()).await.expect("a free place");
        let (waiting, ()) = tokio::join!(gate.admit(soon()), async {
            tokio::task::yield_now().await;
            gate.close();
        });
        assert_eq!(waiting.err(), Some(Refused::Closed));
        assert_eq!(gate.admit(soon()).await.err(), Some(Refused::Closed));
    }
}
