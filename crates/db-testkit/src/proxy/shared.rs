//! What a proxy, its connections and the handles of its faults share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::counts::Tally;
use super::dialogue::{Dialogue, Walk};
use super::rules::{Limit, Rules, Strike};
use super::{Direction, Fault, Refusal};

#[derive(Debug, Default)]
pub(super) struct Shared {
    rules: Mutex<Rules>,
    /// Grows with each change of the rules.
    version: AtomicU64,
    pub(super) conditions: watch::Sender<Conditions>,
    pub(super) tally: Tally,
    pub(super) is_recording: AtomicBool,
    texts: Mutex<Vec<String>>,
}

/// What holds for all connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    pub(super) to_server: Way,
    pub(super) to_client: Way,
    pub(super) refusal: Option<Refusal>,
    pub(super) epoch: Epoch,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    pub(super) is_stalled: bool,
    pub(super) delay: Duration,
}

/// Connections of an earlier one have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) cuts: u64,
    pub(super) losses: u64,
}

impl Conditions {
    pub(super) fn way(&self, direction: Direction) -> Way {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }

    pub(super) fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// A connection's dialogue, and which rules it knows of.
#[derive(Debug)]
pub(super) struct Talk(Mutex<(Dialogue, u64)>);

impl Talk {
    pub(super) fn new(shared: &Shared) -> Self {
        let dialogue = Dialogue::new();
        let is_recorded = shared.is_recording.load(Ordering::Acquire);
        Self(Mutex::new((if is_recorded { dialogue.recorded() } else { dialogue }, 0)))
    }
}

impl Shared {
    /// Walks over what waits to pass, and counts it.
    pub(super) fn walk(&self, talk: &Talk, direction: Direction, bytes: &[u8]) -> Walk {
        let mut talk = lock(&talk.0);
        let (dialogue, known) = &mut *talk;
        if *known != self.version.load(Ordering::Acquire) {
            let rules = lock(&self.rules);
            *known = self.version.load(Ordering::Acquire);
            dialogue.set_limits(&rules.limits().collect::<Vec<Limit>>());
        }
        let mut walk =
            dialogue.walk(direction, bytes, &mut |occurrence| lock(&self.rules).decide(occurrence));
        if !walk.texts.is_empty() {
            lock(&self.texts).append(&mut walk.texts);
        }
        self.tally.walked(direction, &walk);
        walk
    }

    pub(super) fn texts(&self) -> Vec<String> {
        lock(&self.texts).clone()
    }

    pub(super) fn struck(&self, strike: &Strike) {
        strike.has_fired();
        self.tally.fired();
    }

    fn change<T>(&self, change: impl FnOnce(&mut Rules) -> T) -> T {
        let mut rules = lock(&self.rules);
        let result = change(&mut rules);
        self.version.fetch_add(1, Ordering::AcqRel);
        result
    }

    pub(super) fn withdraw_all(&self) {
        self.change(Rules::clear);
    }

    pub(super) fn inject(self: &Arc<Self>, fault: Fault) -> Injected {
        let (number, fired) = self.change(|rules| rules.add(fault));
        Injected { shared: Arc::clone(self), number, fired }
    }
}

/// A panic cannot leave these half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fault that was injected. It stays when this is dropped.
#[derive(Clone)]
pub struct Injected {
    shared: Arc<Shared>,
    number: u64,
    fired: Arc<AtomicU64>,
}

impl Injected {
    /// How often it has struck.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Acquire)
    }

    /// Waits until it has struck at least so often. Waits for ever if it does not: bound it by a time-out.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn wait(&self, times: u64) {
        self.shared.tally.until(|| (self.fired() >= times).then_some(())).await;
    }

    /// It strikes no more. An acknowledgement that is being swallowed already is lost all the same.
    pub fn withdraw(&self) {
        self.shared.change(|rules| rules.remove(self.number));
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injected").field("fired", &self.fired()).finish_non_exhaustive()
    }
}
