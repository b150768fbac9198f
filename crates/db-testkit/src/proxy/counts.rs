//! What a proxy has seen, as numbers to look at and to wait for.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::Direction;
use super::dialogue::Walk;

/// What a proxy has seen since its start. All but `connections` only grow.
///
/// What passes is counted before it does: who has an answer finds it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that clients hold to it now, silent ones included.
    pub connections: u64,
    /// Connections that clients have ever made to it, refused ones included.
    pub accepted: u64,
    /// Messages of clients that are answered by one ReadyForQuery: Query, Sync, FunctionCall.
    pub requests: u64,
    /// COMMITs that clients sent, those that were lost included.
    pub commits: u64,
    /// COMMITs that the server acknowledged, whether or not the client learned of it.
    pub acknowledged: u64,
    /// How often injected faults have struck.
    pub fired: u64,
    /// Bytes that passed from clients to the server.
    pub bytes_to_server: u64,
    /// Bytes that passed from the server to clients.
    pub bytes_to_client: u64,
}

/// The same while they change.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connections: AtomicU64,
    accepted: AtomicU64,
    requests: AtomicU64,
    commits: AtomicU64,
    acknowledged: AtomicU64,
    fired: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
    changed: Notify,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Acquire);
        Counts {
            connections: read(&self.connections),
            accepted: read(&self.accepted),
            requests: read(&self.requests),
            commits: read(&self.commits),
            acknowledged: read(&self.acknowledged),
            fired: read(&self.fired),
            bytes_to_server: read(&self.bytes_to_server),
            bytes_to_client: read(&self.bytes_to_client),
        }
    }

    /// Waits until `condition` gives something.
    pub(super) async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            if let Some(found) = condition() {
                return found;
            }
            changed.await;
        }
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn open(&self) -> Open<'_> {
        self.accepted.fetch_add(1, Ordering::AcqRel);
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        Open(self)
    }

    pub(super) fn walked(&self, direction: Direction, walk: &Walk) {
        let bytes = match direction {
            Direction::ToServer => &self.bytes_to_server,
            Direction::ToClient => &self.bytes_to_client,
        };
        for (number, more) in [
            (bytes, walk.pass as u64),
            (&self.requests, walk.requests),
            (&self.commits, walk.commits),
            (&self.acknowledged, walk.acknowledged),
        ] {
            if more > 0 {
                number.fetch_add(more, Ordering::AcqRel);
            }
        }
        self.changed.notify_waiters();
    }

    pub(super) fn fired(&self) {
        self.fired.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Open<'a>(&'a Tally);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}
