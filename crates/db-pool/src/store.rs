//! Where idle connections lie: bb8, as a store and nothing else. It opens, checks, expires and waits for nothing.

use std::convert::Infallible;
use std::time::Duration;

use crate::physical::Physical;

/// What bb8 is told of connections: whether they may lie there.
pub(crate) struct Shelf;

impl bb8::ManageConnection for Shelf {
    type Connection = Physical;
    type Error = Infallible;

    async fn connect(&self) -> Result<Physical, Infallible> {
        // Never called: only what was put there is taken out.
        std::future::pending().await
    }

    async fn is_valid(&self, _physical: &mut Physical) -> Result<(), Infallible> {
        // Never called: the pool checks connections itself, with a time limit of its own.
        Ok(())
    }

    fn has_broken(&self, physical: &mut Physical) -> bool {
        physical.discard.is_some()
    }
}

/// An empty store. What was used last is given out first, so that the others may become old.
pub(crate) fn empty() -> bb8::Pool<Shelf> {
    bb8::Pool::builder()
        // Seats bound the number of connections.
        .max_size(u32::MAX)
        .min_idle(None)
        .test_on_check_out(false)
        .retry_connection(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .queue_strategy(bb8::QueueStrategy::Lifo)
        .connection_timeout(Duration::from_secs(24 * 60 * 60))
        .build_unchecked(Shelf)
}
