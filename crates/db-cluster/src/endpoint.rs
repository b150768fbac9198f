//! One server with its pool, and how much it has to do. What it is good for is kept elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::seldom::Seldom;

/// A server of the cluster.
pub(crate) struct Endpoint<P> {
    pub(crate) name: Arc<str>,
    pub(crate) pool: P,
    /// For looks, so that they do not depend on how busy the other is.
    pub(crate) look_pool: Option<P>,
    /// Somebody wants to know at once how it is.
    pub(crate) look_now: Notify,
    pub(crate) is_drained: AtomicBool,
    /// That its pool is told to replace its connections because one was lost.
    pub(crate) replacing: Seldom,
    /// Why the last look found nothing.
    error: Mutex<Option<String>>,
    load: Arc<Load>,
}

/// How much a server has to do.
#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicUsize,
    served: AtomicU64,
    /// Nanoseconds; 0 before the first.
    latency: AtomicU64,
}

/// One use of a server, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    load: Arc<Load>,
    began: Instant,
}

/// The weight of the newest latency in the average, as a fraction of so many.
const SMOOTHING: u64 = 8;

/// The same for one that is lower. Whoever was slow under load gets few reads, and must not need many to show that it is not
/// any more.
const RECOVERY: u64 = 2;

/// All sessions of a primary that is killed have ended within less than this. A pooler without a server says as much of every
/// statement, while its connections are well.
const DYING: Duration = Duration::from_secs(1);

impl<P> Endpoint<P> {
    pub(crate) fn new(name: String, pool: P, look_pool: Option<P>) -> Self {
        Self {
            name: name.into(),
            pool,
            look_pool,
            look_now: Notify::new(),
            is_drained: AtomicBool::new(false),
            replacing: Seldom::new(DYING),
            error: Mutex::new(None),
            load: Arc::default(),
        }
    }

    /// Notes why the last look found nothing, or that it found something.
    pub(crate) fn note(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(crate) fn noted(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts one use from now on.
    pub(crate) fn begin(&self) -> Flight {
        self.load.in_flight.fetch_add(1, Ordering::Relaxed);
        Flight { load: Arc::clone(&self.load), began: Instant::now() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.load.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn served(&self) -> u64 {
        self.load.served.load(Ordering::Relaxed)
    }

    /// How long a read takes, on average.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let nanos = self.load.latency.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }
}

impl Flight {
    /// It was served. The time it took counts for a read only: how long a caller keeps a connection is his affair.
    pub(crate) fn served(&self, is_read: bool) {
        self.load.served.fetch_add(1, Ordering::Relaxed);
        if !is_read {
            return;
        }
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        let smooth = |old: u64| {
            let part = if nanos < old { RECOVERY } else { SMOOTHING };
            Some(if old == 0 { nanos } else { (old - old / part + nanos / part).max(1) })
        };
        // The closure never refuses.
        self.load.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, smooth).ok();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
