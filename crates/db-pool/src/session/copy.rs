//! Beginning to copy into a table or out of one. How the data passes is the driver's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use db_core::{Cause, Error, Phase, Result, Signal};
use tokio_postgres::{CopyInSink, CopyOutStream, Statement};

use super::Session;
use crate::statements::Prepared;
use crate::wire::Transaction;

impl Session {
    /// Begins to copy into a table.
    pub(crate) async fn copy_in(self: &Arc<Self>, sql: &str) -> Result<CopyInSink<Bytes>> {
        let statement = self.prepared_for_copy(sql).await?;
        // The driver ends a copy that did not begin with a second request, whose answer it takes for the next one's. So
        // does a future that is dropped here.
        self.is_spent.store(true, Ordering::Relaxed);
        let begun = self.client.copy_in(&statement).await;
        if begun.is_ok() {
            self.is_spent.store(false, Ordering::Relaxed);
        }
        begun.map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters())
    }

    /// Begins to copy out of a table.
    pub(crate) async fn copy_out(self: &Arc<Self>, sql: &str) -> Result<CopyOutStream> {
        let statement = self.prepared_for_copy(sql).await?;
        let begun = self.client.copy_out(&statement).await;
        begun.map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters())
    }

    /// The driver copies with named statements only.
    async fn prepared_for_copy(self: &Arc<Self>, sql: &str) -> Result<Statement> {
        if self.pooled.is_some() {
            if self.wire.transaction() == Transaction::None {
                let message = "behind this pooler COPY works in a transaction only";
                return Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
            }
            let prepared = self.client.prepare(sql).await;
            return prepared.map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters());
        }
        match self.prepared(sql).await? {
            (Prepared::Named(statement), _) => Ok(statement),
            (Prepared::Typed(_), _) => unreachable!("statements have names where there is no pooler"),
        }
    }
}
