//! What the pool, its connections and its tasks have in common, and the errors that are made of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_core::{Cause, CloseReason, Error, HighUse, Phase, Signal, Wait};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checkout::{Demand, Pooled};
use crate::connector::{Connector, LastFailure};
use crate::gate::{Gate, Refused};
use crate::histogram::Histogram;
use crate::lanes::Lanes;
use crate::physical::About;
use crate::seats::Seats;
use crate::server::ServerInfo;
use crate::settings::Settings;
use crate::store::Shelf;
use crate::watch::Register;
use crate::wording::Wordings;

/// What the pool, its connections and its tasks have in common.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) about: Arc<About>,
    pub(crate) connector: Connector,
    pub(crate) failures: watch::Receiver<LastFailure>,
    pub(crate) gate: Gate,
    pub(crate) seats: Arc<Seats>,
    pub(crate) demand: Demand,
    pub(crate) store: bb8::Pool<Shelf>,
    /// As many permits as connections lie in the store.
    pub(crate) ready: Semaphore,
    pub(crate) register: Register,
    pub(crate) lanes: Lanes,
    /// Held while an operator changes the width of the gate.
    pub(crate) operating: Mutex<()>,
    pub(crate) waited: Histogram,
    pub(crate) runtime: Handle,
    /// Cancelled when the pool is closed.
    pub(crate) closing: CancellationToken,
    /// The tasks that drive the connections.
    pub(crate) drivers: TaskTracker,
    pub(crate) server: ServerInfo,
    pub(crate) wordings: Wordings,
    /// Tells maintenance that there is something to do.
    pub(crate) upkeep: Notify,
    pub(crate) is_paused: AtomicBool,
    is_use_high: AtomicBool,
}

/// What a pool is made from.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) about: Arc<About>,
    pub(crate) connector: Connector,
    pub(crate) drivers: TaskTracker,
    pub(crate) seats: Arc<Seats>,
    pub(crate) server: ServerInfo,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { settings, about, connector, drivers, seats, server } = parts;
        Arc::new(Self {
            gate: Gate::new(seats.max(), settings.queue_limit),
            lanes: Lanes::new(&settings),
            failures: connector.failures(),
            settings,
            about,
            connector,
            seats,
            demand: Demand::default(),
            store: crate::store::empty(),
            ready: Semaphore::new(0),
            register: Register::default(),
            operating: Mutex::default(),
            waited: Histogram::default(),
            runtime: Handle::current(),
            closing: CancellationToken::new(),
            drivers,
            server,
            wordings: Wordings::default(),
            upkeep: Notify::new(),
            is_paused: AtomicBool::new(false),
            is_use_high: AtomicBool::new(false),
        })
    }

    /// The fewest connections that are kept open.
    pub(crate) fn min(&self) -> u32 {
        self.settings.min.min(self.seats.max())
    }

    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.gate.waiting()).unwrap_or(u32::MAX)
    }

    /// Takes a connection out of the store. Only for whoever took a permit of `ready`.
    pub(crate) fn pop(&self) -> Option<Pooled> {
        self.store.get_owned().now_or_never()?.ok()
    }

    /// Puts a connection back, or closes it when it is not to be used again.
    pub(crate) fn put_back(self: &Arc<Self>, physical: Pooled) {
        let is_kept = physical.discard.is_none();
        drop(physical);
        if is_kept {
            self.ready.add_permits(1);
        } else {
            self.open_more();
        }
    }

    /// Closes everything that is idle now.
    pub(crate) fn empty_store(self: &Arc<Self>) {
        while let Some(mut physical) = self.take_idle() {
            physical.discard = Some(CloseReason::PoolClosed);
            drop(physical);
        }
    }

    /// Tells the observer when use rises above 80 %, once until it has fallen below again.
    pub(crate) fn check_use(&self) {
        let (in_use, max) = (self.gate.inside(), self.seats.max());
        let is_high = u64::from(in_use) * 100 > u64::from(max) * 80;
        // Mostly nothing changes, and then nothing is written.
        if self.is_use_high.load(Ordering::Relaxed) == is_high
            || self.is_use_high.swap(is_high, Ordering::Relaxed)
            || !is_high
        {
            return;
        }
        let About { pool, observer, .. } = &*self.about;
        observer.high_use(&HighUse::new(pool, in_use, max, self.waiting()));
    }

    pub(crate) fn timed_out(&self, waited: Duration) -> Error {
        let (in_use, max, waiting) = (self.gate.inside(), self.seats.max(), self.waiting());
        let mut message = format!(
            "timed out waiting for a connection ({:.1} s, {in_use} of {max} in use, {waiting} waiting)",
            waited.as_secs_f64()
        );
        let mut cause = Cause::PoolBusy;
        if self.is_paused.load(Ordering::Relaxed) {
            message.push_str("; the pool is paused");
        } else if let Some(failure) = &*self.failures.borrow() {
            message = format!("{message}; last connect error: {}", failure.error);
            cause = Cause::Unreachable;
        } else if self.seats.open() < max {
            message.push_str("; no further connection could be opened in time");
            cause = Cause::Unreachable;
        }
        let wait = Wait { waited, in_use, max, waiting };
        Error::new(Signal::new(cause, Phase::Acquire), message).with_wait(wait)
    }

    pub(crate) fn refused(&self, refused: &Refused) -> Error {
        match *refused {
            Refused::TimedOut { waited } => self.timed_out(waited),
            Refused::Closed => {
                Error::new(Signal::new(Cause::PoolClosed, Phase::Acquire), "the pool is closed")
            }
            Refused::QueueFull { waiting } => {
                let message = format!("too many callers wait for a connection already ({waiting})");
                Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), message)
            }
        }
    }
}
