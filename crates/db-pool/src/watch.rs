//! Who has which connection, and for how long: what tells a leak and what lets a closing pool end those who stay.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::Session;

/// A place in the source of whoever uses the pool.
pub(crate) type Caller = &'static Location<'static>;

/// A connection that is watched while a caller has it.
pub(crate) struct Watched {
    pub(crate) session: Arc<Session>,
    checkout: Mutex<Option<Checkout>>,
}

#[derive(Clone, Copy)]
struct Checkout {
    since: Instant,
    place: Caller,
    was_told: bool,
}

impl Watched {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, checkout: Mutex::new(None) }
    }

    pub(crate) fn begin(&self, since: Instant, place: Caller) {
        *self.checkout() = Some(Checkout { since, place, was_told: false });
    }

    /// Notes that it is kept for long on purpose.
    pub(crate) fn is_no_leak(&self) {
        if let Some(checkout) = &mut *self.checkout() {
            checkout.was_told = true;
        }
    }

    pub(crate) fn end(&self) {
        *self.checkout() = None;
    }

    pub(crate) fn is_out(&self) -> bool {
        self.checkout().is_some()
    }

    /// Where it was acquired and for how long it has been out, the first time that this is longer than `limit`.
    fn overdue(&self, limit: Duration) -> Option<(Caller, Duration)> {
        let mut checkout = self.checkout();
        let checkout = checkout.as_mut()?;
        let held = checkout.since.elapsed();
        let is_new = held >= limit && !std::mem::replace(&mut checkout.was_told, held >= limit);
        is_new.then_some((checkout.place, held))
    }

    fn checkout(&self) -> MutexGuard<'_, Option<Checkout>> {
        self.checkout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All connections of a pool.
#[derive(Default)]
pub(crate) struct Register(Mutex<Vec<Weak<Watched>>>);

impl Register {
    pub(crate) fn add(&self, watched: &Arc<Watched>) {
        let mut all = self.all();
        all.retain(|watched| watched.strong_count() > 0);
        all.push(Arc::downgrade(watched));
    }

    /// Those that a caller has now.
    pub(crate) fn out(&self) -> Vec<Arc<Watched>> {
        let mut watched = self.open();
        watched.retain(|watched| watched.is_out());
        watched
    }

    /// Those that there are.
    pub(crate) fn open(&self) -> Vec<Arc<Watched>> {
        self.all().iter().filter_map(Weak::upgrade).collect()
    }

    /// Each checkout that has become longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Vec<(Caller, Duration)> {
        self.out().iter().filter_map(|watched| watched.overdue(limit)).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
