//! Statements that wait for a lane, first come, first served. Which lane one runs on is decided only when that lane has room for it, so
//! that one that stops holds up no more than what is in flight on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Statement;

use super::belt::Done;
use super::lane::Lane;
use super::slot::Question;
use crate::session::{Encoded, nanos};

/// A statement with all that is needed to run it on any lane.
pub(crate) struct Parcel {
    pub(crate) sql: Arc<str>,
    pub(crate) params: Vec<Encoded>,
    pub(crate) keeps_rows: bool,
    pub(crate) question: Question<Done>,
    /// As it is prepared on one of the lanes, and on which.
    pub(crate) statement: Statement,
    pub(crate) home: Arc<Lane>,
}

/// What waits.
pub(crate) struct Backlog {
    waiting: Mutex<VecDeque<(Instant, Parcel)>>,
    /// In one order with the loads of lanes: whoever hands in and finds no room is seen by whoever makes room after that.
    len: AtomicU32,
    born: Instant,
    /// Since when the first has waited, in nanoseconds since it was born.
    since: AtomicU64,
}

impl Backlog {
    pub(crate) fn new() -> Self {
        let (waiting, len, since) = Default::default();
        Self { waiting, len, born: Instant::now(), since }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::SeqCst)
    }

    /// How long the first of them has waited.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        if self.len() == 0 {
            return Duration::ZERO;
        }
        let since = Duration::from_nanos(self.since.load(Ordering::Acquire));
        now.saturating_duration_since(self.born + since)
    }

    pub(crate) fn push(&self, parcel: Parcel, now: Instant) {
        let mut waiting = self.waiting();
        waiting.push_back((now, parcel));
        self.count(&waiting);
    }

    pub(crate) fn pop(&self) -> Option<Parcel> {
        let mut waiting = self.waiting();
        let parcel = waiting.pop_front();
        self.count(&waiting);
        Some(parcel?.1)
    }

    /// Tells all who wait that their statements did not run.
    pub(crate) fn refuse_all(&self) {
        let refused = {
            let mut waiting = self.waiting();
            let refused = std::mem::take(&mut *waiting);
            self.count(&waiting);
            refused
        };
        // It wakes those who wait: not under the lock.
        drop(refused);
    }

    fn count(&self, waiting: &VecDeque<(Instant, Parcel)>) {
        if let Some((since, _)) = waiting.front() {
            self.since.store(nanos(*since - self.born), Ordering::Release);
        }
        self.len.store(u32::try_from(waiting.len()).unwrap_or(u32::MAX), Ordering::SeqCst);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Instant, Parcel)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
