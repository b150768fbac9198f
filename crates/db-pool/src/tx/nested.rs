//! Transactions inside a transaction: savepoints that end with their body.

use db_core::{Cause, Error, Phase, Result, Signal};

use super::Tx;
use crate::wire::Transaction;

impl Tx<'_> {
    /// Runs `body` in a savepoint: keeps what it did when it gives `Ok`, undoes it when it gives `Err`. The transaction goes on
    /// either way.
    ///
    /// # Errors
    /// What `body` gives. When a statement failed in it and it gave `Ok` all the same, what it did is undone and the first
    /// error is reported.
    ///
    /// # Cancel safety
    /// A future that is dropped makes the whole transaction one that can only be rolled back.
    pub async fn tx<T, F>(&mut self, body: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T>,
    {
        self.try_tx(body).await
    }

    /// [`Tx::tx`] for a body with an error type of its own.
    ///
    /// # Errors
    /// As [`Tx::tx`].
    ///
    /// # Cancel safety
    /// As [`Tx::tx`].
    pub async fn try_tx<T, E, F>(&mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        self.still_runs()?;
        if let Some(first) = self.failure().await? {
            return Err(first.into());
        }
        let name = format!("db_savepoint_{}", self.depth);
        self.savepoint(&format!("SAVEPOINT {name}")).await?;
        let inner = Inner::enter(self);
        let result = body(inner.tx).await;
        if inner.tx.conn.has_unfinished() {
            // It may still fail, or succeed, after the savepoint is gone. Nothing but the end of the whole settles it.
            let message =
                "a statement in a savepoint was abandoned before its end: the transaction is rolled back";
            result?;
            return Err(Error::new(Signal::new(Cause::Misuse, Phase::Execute), message).into());
        }
        let result = match (result, inner.tx.failure().await?) {
            (Ok(_), Some(first)) => Err(first.into()),
            (result, _) => result,
        };
        if result.is_ok() {
            inner.tx.savepoint(&format!("RELEASE {name}")).await?;
        } else {
            // What is wrong with the connection is told by the next statement; the body's error matters more.
            let undo = format!("ROLLBACK TO {name}; RELEASE {name}");
            if inner.tx.savepoint(&undo).await.is_err() {
                return result;
            }
        }
        inner.leave();
        result
    }

    async fn savepoint(&self, sql: &str) -> Result<()> {
        let session = self.conn.usable(Phase::Execute)?;
        self.note(false, self.conn.run(Phase::Execute, session.simple(sql, Phase::Execute)).await)
    }

    /// The first error, if the server has aborted the transaction.
    async fn failure(&self) -> Result<Option<Error>> {
        let state = self.conn.transaction(Phase::Execute).await;
        let has_failed = self.note(false, state)? == Transaction::Failed;
        Ok(has_failed.then(|| self.error().as_ref().map_or_else(super::verdict::aborted, Error::duplicate)))
    }
}

/// A savepoint whose end is not known: unless it is left, the transaction can only be rolled back.
struct Inner<'t, 'c> {
    tx: &'t mut Tx<'c>,
    is_left: bool,
}

impl<'t, 'c> Inner<'t, 'c> {
    fn enter(tx: &'t mut Tx<'c>) -> Self {
        tx.depth += 1;
        Self { tx, is_left: false }
    }

    fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for Inner<'_, '_> {
    fn drop(&mut self) {
        self.tx.depth -= 1;
        if !self.is_left {
            self.tx.conn.abandon();
        }
    }
}
