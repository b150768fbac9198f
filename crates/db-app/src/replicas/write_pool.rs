//! The one pool that writes, and which of the servers it goes to.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use db_core::{Observer, Result};
use db_pool::{Pool, Settings, Target};
use tokio::sync::watch;

/// The pool for writes.
pub(super) struct WritePool {
    /// How each server is written to.
    targets: Vec<Target>,
    /// The number of the primary.
    at: watch::Sender<Option<usize>>,
    /// Set once, after the primary was found.
    pool: OnceLock<Pool>,
    /// Held while the pool is turned.
    turning: Mutex<()>,
}

impl WritePool {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self { targets, at: watch::Sender::new(None), pool: OnceLock::new(), turning: Mutex::default() }
    }

    /// The number of the primary, while there is one.
    pub(super) fn at(&self) -> Option<usize> {
        *self.at.borrow()
    }

    /// The pool, if it goes to this server, which takes writes.
    pub(super) fn of(&self, number: usize) -> Option<&Pool> {
        self.pool.get().filter(|_| self.at() == Some(number))
    }

    /// Notes where the primary is, and turns the pool there.
    pub(super) fn primary_is(&self, number: Option<usize>) {
        self.at.send_replace(number);
        self.turn();
    }

    /// Opens the pool at the primary, also one that comes to be it meanwhile. While there is none, what is wrong is said by the first
    /// server.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub(super) async fn open(&self, settings: &Settings, observer: &Arc<dyn Observer>) -> Result<Pool> {
        let mut moves = self.at.subscribe();
        loop {
            let at = moves.borrow_and_update().unwrap_or_default();
            let opening =
                Pool::open_observed(self.targets[at].clone(), settings.clone(), Arc::clone(observer));
            let opened = tokio::select! {
                opened = opening => opened?,
                Ok(()) = moves.changed() => continue,
            };
            let pool = self.pool.get_or_init(|| opened);
            // It may have been another one's turn just now.
            if self.at().is_some() {
                self.turn();
            }
            return Ok(pool.clone());
        }
    }

    fn turn(&self) {
        // Two who turn it do so one after the other, and each to what is right by then.
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = self.pool.get() else { return };
        match self.at() {
            Some(at) => pool.turn_to(self.targets[at].clone()),
            None => pool.turn_away(),
        }
    }
}
