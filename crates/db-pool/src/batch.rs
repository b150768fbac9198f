//! Short transactions in one round trip: BEGIN, statements and COMMIT are sent together. What their answers mean is decided with
//! the transaction; nothing is run a second time for a lost race here.

use std::panic::Location;

use db_core::{Answer, Batch, Result};

use crate::{Conn, Pool, Tx, TxOptions};

impl Conn {
    /// Runs statements in a transaction of their own, and gives what each of them gave, in order. BEGIN, the statements and
    /// COMMIT are sent together: one round trip, once the statements are prepared; before, all are prepared together.
    ///
    /// For statements of which none depends on the answer of another. Each is prepared before any runs, so none can name what
    /// another one makes. None may end the transaction, go back to a savepoint, or be a COPY from or to the client. All rows are
    /// kept in memory: a result that does not fit there belongs into a [transaction](Conn::tx), by
    /// [`stream`](db_core::Query::stream). Without statements nothing is sent.
    ///
    /// The time limit of a statement holds for each on the server, and for the whole here.
    ///
    /// # Errors
    /// - Parameters that do not fit a statement, and statements that must not be there: nothing was sent.
    /// - The error of the first statement that failed, with its number; or that of COMMIT. Nothing stays.
    /// - When the connection was lost: COMMIT may have been read by then, so the [outcome](db_core::Error::outcome) is
    ///   `Unknown` unless an error had come, or not everything had left this process.
    ///
    /// A statement that was changed under the connection is prepared again, and the whole runs once more: nothing of it had
    /// stayed.
    ///
    /// # Cancel safety
    /// The outcome of a future that is dropped is unknown. The connection takes no further statement; it is cleaned when it is
    /// given back.
    pub async fn batch(&mut self, statements: Batch<'_>) -> Result<Vec<Answer>> {
        self.batch_with(&TxOptions::default(), statements).await
    }

    /// [`Conn::batch`] with an isolation level, a deadline, and so on.
    ///
    /// # Errors
    /// As [`Conn::batch`], and when the deadline has passed.
    ///
    /// # Cancel safety
    /// As [`Conn::batch`].
    pub async fn batch_with(&mut self, options: &TxOptions, statements: Batch<'_>) -> Result<Vec<Answer>> {
        let (answers, committed) = self.batch_until_commit(options, statements).await?;
        committed.map(|()| answers)
    }

    /// [`Conn::batch_with`], which gives what the statements gave beside what COMMIT said. For layers above the pool, which may
    /// find out what became of a COMMIT.
    ///
    /// # Errors
    /// As [`Conn::batch_with`], when not all statements were answered.
    ///
    /// # Cancel safety
    /// As [`Conn::batch`].
    pub async fn batch_until_commit(
        &mut self,
        options: &TxOptions,
        statements: Batch<'_>,
    ) -> Result<(Vec<Answer>, Result<()>)> {
        Tx::of_batch(self, options, statements).await
    }
}

impl Pool {
    /// [`Conn::batch`] on a connection of its own.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::batch`].
    ///
    /// # Cancel safety
    /// As [`Conn::batch`].
    #[track_caller]
    pub fn batch<'a>(
        &'a self,
        statements: Batch<'a>,
    ) -> impl Future<Output = Result<Vec<Answer>>> + Send + 'a {
        let acquiring = self.acquire_for(Location::caller(), None);
        async move {
            if statements.is_empty() {
                return Ok(Vec::new());
            }
            acquiring.await?.batch(statements).await
        }
    }

    /// [`Conn::batch_with`] on a connection of its own, for which it waits until the same deadline, if there is one.
    ///
    /// # Errors
    /// As [`Pool::acquire`] and [`Conn::batch_with`].
    ///
    /// # Cancel safety
    /// As [`Conn::batch`].
    #[track_caller]
    pub fn batch_with<'a>(
        &'a self,
        options: &'a TxOptions,
        statements: Batch<'a>,
    ) -> impl Future<Output = Result<Vec<Answer>>> + Send + 'a {
        let acquiring = self.acquire_for(Location::caller(), options.deadline);
        async move {
            if statements.is_empty() {
                return Ok(Vec::new());
            }
            acquiring.await?.batch_with(options, statements).await
        }
    }
}
