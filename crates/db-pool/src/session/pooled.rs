//! Statements behind a pooler that gives each transaction another session of the server: in transactions of their own,
//! which no other statement of the same connection gets into.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use db_core::{Action, Cause, Error, Params, Phase, Result, Signal, SqlState};
use futures_util::future::join3;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::RowStream;

use super::Session;
use super::lookups::Lookups;
use crate::wire::Transaction;

/// How statements run behind a pooler that gives each transaction another session.
pub(super) struct Pooled {
    pub(super) begin: String,
    /// One transaction at a time: what another caller of this connection wrote must not hang on ours.
    pub(super) turn: Mutex<()>,
    /// Whether a stream has begun a transaction since it was last seen that none is open.
    pub(super) is_streaming: AtomicBool,
    pub(super) lookups: Lookups,
}

impl Session {
    /// What begins a transaction that only reads, if each transaction may be in another session. Its statements see the latest,
    /// whatever the default of the server is.
    pub(crate) fn begin_to_read(&self) -> Option<String> {
        let Pooled { begin, .. } = self.pooled.as_ref()?;
        Some(format!("{begin}; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"))
    }

    /// Runs a statement behind a pooler: in a transaction of its own, unless one is open.
    pub(super) async fn apart<T, F>(
        self: &Arc<Self>,
        pooled: &Pooled,
        sql: &str,
        params: Params<'_>,
        read: F,
    ) -> Result<T>
    where
        F: AsyncFnOnce(RowStream) -> Result<T>,
    {
        let Some(_turn) = self.turn(pooled).await? else {
            return read(self.start(sql, params).await?).await;
        };
        self.prime(sql, &pooled.begin).await?;
        // All three are sent before the first is answered.
        let begun = self.send_simple(&pooled.begin, Phase::Execute);
        let statement = async { read(self.start(sql, params).await?).await };
        let committed = self.send_simple("COMMIT", Phase::Commit);
        let (begun, result, committed) = join3(begun, statement, committed).await;
        begun?;
        let value = result?;
        committed?;
        Ok(value)
    }

    /// The turn to open a transaction, unless one is open.
    pub(super) async fn turn<'p>(&self, pooled: &'p Pooled) -> Result<Option<MutexGuard<'p, ()>>> {
        let turn = pooled.turn.lock().await;
        self.leave_stream(pooled).await?;
        Ok((self.wire.transaction() == Transaction::None).then_some(turn))
    }

    /// Makes sure that what comes next does not run in the transaction of a stream, with which it would be undone.
    pub(super) async fn leave_stream(&self, pooled: &Pooled) -> Result<()> {
        if !pooled.is_streaming.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.wire.is_owed() {
            self.sync().await?;
        }
        match self.wire.transaction() {
            Transaction::None => {}
            Transaction::Failed => self.roll_back().await?,
            // Whether somebody still reads it is not known here.
            Transaction::Open => {
                let message = "behind this pooler a stream must be read to its end before the next statement: \
                               give the connection back and acquire another";
                return Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message));
            }
        }
        pooled.is_streaming.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Rolls back, and takes out of the session what lookups have left there.
    pub(super) async fn roll_back(&self) -> Result<()> {
        let Some(Pooled { lookups, .. }) = self.pooled.as_ref().filter(|it| it.lookups.may_be_left()) else {
            return self.send_simple("ROLLBACK", Phase::Execute).await;
        };
        let swept = lookups.sweep(&self.client).await;
        if !matches!(swept, Ok(true)) {
            self.is_spent.store(true, Ordering::Relaxed);
        }
        swept.map(drop).map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters())
    }

    /// Learns the types of a statement in a transaction, so that it can be sent whole in the next one.
    pub(super) async fn prime(self: &Arc<Self>, sql: &str, begin: &str) -> Result<()> {
        /// How many names in a row another process may have left in a session. The driver's next one is another.
        const NAMES: usize = 20;
        if self.statements.is_ready(sql) {
            return Ok(());
        }
        let mut names_left = NAMES;
        loop {
            self.send_simple(begin, Phase::Execute).await?;
            let prepared = self.prepared(sql).await;
            let rolled_back = self.roll_back().await;
            match prepared {
                Ok(_) => return rolled_back,
                Err(error) if error.sqlstate() == Some(SqlState::DUPLICATE_STATEMENT) && names_left > 0 => {
                    rolled_back?;
                    names_left -= 1;
                }
                Err(error) => {
                    if error.advice().read == Action::Reprepare {
                        self.is_spent.store(true, Ordering::Relaxed);
                    }
                    return Err(error);
                }
            }
        }
    }
}
