//! How many connections there are and may be. A connection has a seat from before it is opened until it is closed. The
//! server may see one more for the moment in which it hears the farewell of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// All seats of a pool.
#[derive(Debug)]
pub(crate) struct Seats {
    max: AtomicU32,
    taken: AtomicU32,
    /// Taken by connections that are being opened.
    opening: AtomicU32,
}

/// The seat of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    is_open: bool,
}

impl Seats {
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max: AtomicU32::new(max), taken: AtomicU32::new(0), opening: AtomicU32::new(0) })
    }

    pub(crate) fn max(&self) -> u32 {
        self.max.load(Ordering::SeqCst)
    }

    pub(crate) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::SeqCst);
    }

    /// Connections that exist or are being opened.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Connections that exist.
    pub(crate) fn open(&self) -> u32 {
        self.taken().saturating_sub(self.opening.load(Ordering::SeqCst))
    }

    /// A seat while fewer than `limit` are taken, for a connection that is about to be opened.
    pub(crate) fn take(self: &Arc<Self>, limit: u32) -> Option<Seat> {
        let limit = limit.min(self.max());
        let take = |taken| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        self.opening.fetch_add(1, Ordering::SeqCst);
        Some(Seat { seats: Arc::clone(self), is_open: false })
    }
}

impl Seat {
    /// Its connection was opened.
    pub(crate) fn opened(mut self) -> Self {
        if !std::mem::replace(&mut self.is_open, true) {
            self.seats.opening.fetch_sub(1, Ordering::SeqCst);
        }
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.is_open {
            self.seats.opening.fetch_sub(1, Ordering::SeqCst);
        }
        self.seats.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_maximum() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(9).expect("free"), seats.take(9).expect("free"));
        assert!(seats.take(9).is_none());
        let first = first.opened();
        assert_eq!((seats.taken(), seats.open()), (2, 1));
        drop(second);
        assert_eq!((seats.taken(), seats.open()), (1, 1));
        assert!(seats.take(1).is_none(), "as many as asked for");
        drop(first);
        assert_eq!((seats.taken(), seats.open()), (0, 0));
    }
}
