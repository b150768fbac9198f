//! What becomes of a connection when its caller lets go: back at once when it is clean, cleaned in the background when it
//! can be, closed otherwise. A task of its own does what takes time, since dropping cannot wait.

use std::sync::Arc;
use std::time::Duration;

use db_core::CloseReason;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::connector::Connector;
use crate::pool::Shared;

/// A connection with its place. Fields go in this order: the connection before the permit, so that whoever is admitted
/// next finds it.
pub(crate) struct Held {
    pub(crate) physical: bb8::PooledConnection<'static, Connector>,
    _permit: OwnedSemaphorePermit,
    _checkout: TaskTrackerToken,
    pub(crate) shared: Arc<Shared>,
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
        permit: OwnedSemaphorePermit,
        shared: Arc<Shared>,
    ) -> Self {
        physical.checked_out();
        let checkout = shared.checkouts.token();
        Self { physical, _permit: permit, _checkout: checkout, shared }
    }

    /// Lets go of the connection. The permit stays taken until it is clean or closed.
    pub(crate) fn release(mut self, left: Left) {
        let limit = self.shared.settings.connect_timeout;
        let runtime = self.shared.runtime.clone();
        match left {
            Left::Clean => self.physical.checked_in(),
            Left::Transaction => {
                runtime.spawn(self.roll_back(limit));
            }
            Left::Statement => {
                runtime.spawn(self.cancel(limit));
            }
        }
    }

    /// Ends what may be an open transaction. Without one the server only warns.
    async fn roll_back(mut self, limit: Duration) {
        // Until the server has answered: a runtime that ends here drops the connection as it is.
        self.physical.discard = Some(CloseReason::Unclean);
        let rolled_back = timeout(limit, self.physical.client.batch_execute("ROLLBACK")).await;
        if matches!(rolled_back, Ok(Ok(()))) {
            self.physical.discard = None;
        }
        self.physical.checked_in();
    }

    /// Tells the server to stop working for nobody; the connection still owes an answer and is closed.
    async fn cancel(mut self, limit: Duration) {
        self.physical.discard = Some(CloseReason::Unclean);
        let cancel = self.physical.client.cancel_token();
        if !matches!(timeout(limit, cancel.cancel_query(NoTls)).await, Ok(Ok(()))) {
            tracing::debug!(target: "db::pool", "an abandoned statement could not be cancelled");
        }
        self.physical.checked_in();
    }
}
