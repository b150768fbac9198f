//! What becomes of a connection when its caller lets go: back at once when it is clean, cleaned in the background when it
//! can be, closed otherwise. A task of its own does what takes time, since dropping cannot wait.

use std::sync::Arc;

use db_core::CloseReason;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::connector::Connector;
use crate::pool::Shared;

/// A connection with its place. Fields go in this order: the connection before the place, so that whoever is admitted
/// next finds it.
pub(crate) struct Held {
    pub(crate) physical: bb8::PooledConnection<'static, Connector>,
    _place: Place,
    pub(crate) shared: Arc<Shared>,
}

/// One of the places that the pool has, counted as in use from admission to release. The count goes before the permit,
/// so that it never exceeds the number of places.
pub(crate) struct Place {
    _checkout: TaskTrackerToken,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit, checkouts: &TaskTracker) -> Self {
        Self { _checkout: checkouts.token(), _permit: permit }
    }
}

/// What the caller left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Clean,
    /// Perhaps an open transaction.
    Transaction,
    /// A statement whose end was not seen.
    Statement,
}

impl Held {
    pub(crate) fn new(
        mut physical: bb8::PooledConnection<'static, Connector>,
        place: Place,
        shared: Arc<Shared>,
    ) -> Self {
        physical.checked_out();
        Self { physical, _place: place, shared }
    }

    /// Lets go of the connection. Its place stays taken until it is clean or closed.
    pub(crate) fn release(mut self, left: Left) {
        let runtime = self.shared.runtime.clone();
        if left != Left::Clean {
            // Until it is known to be clean, and also when the runtime has ended and drops the task unseen.
            self.physical.discard = Some(CloseReason::Unclean);
        }
        match left {
            Left::Clean => self.end(),
            Left::Transaction => drop(runtime.spawn(self.roll_back())),
            Left::Statement => drop(runtime.spawn(self.cancel())),
        }
    }

    /// Ends what may be an open transaction. Without one the server only warns.
    async fn roll_back(mut self) {
        let limit = self.shared.settings.connect_timeout;
        let rolled_back = timeout(limit, self.physical.client.batch_execute("ROLLBACK")).await;
        if matches!(rolled_back, Ok(Ok(()))) {
            self.physical.discard = None;
        }
        self.end();
    }

    /// Tells the server to stop working for nobody; the connection still owes an answer and is closed.
    async fn cancel(self) {
        let limit = self.shared.settings.connect_timeout;
        let cancel = self.physical.client.cancel_token();
        if !matches!(timeout(limit, cancel.cancel_query(NoTls)).await, Ok(Ok(()))) {
            tracing::debug!(target: "db::pool", "an abandoned statement could not be cancelled");
        }
        self.end();
    }

    fn end(mut self) {
        if self.shared.gate.is_closed() {
            self.physical.discard.get_or_insert(CloseReason::PoolClosed);
        }
        self.physical.checked_in();
        let shared = Arc::clone(&self.shared);
        drop(self);
        shared.check_use();
    }
}
