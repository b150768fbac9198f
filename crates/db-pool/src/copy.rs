//! COPY in both directions: the fast way for many rows.

use std::pin::Pin;

use bytes::Bytes;
use db_core::{Error, Phase, Result};
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::{CopyInSink, CopyOutStream};

use crate::running::{Patience, Running};
use crate::{Conn, Tx};

/// Data on its way into a table, from [`Conn::copy_in`].
///
/// # Cancel safety
/// Nothing is stored before [`CopyIn::finish`]. Dropped before that, the server discards what it has got.
pub struct CopyIn<'c> {
    conn: &'c Conn,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    running: Running,
    /// The transaction that it belongs to, unless that was begun by hand.
    tx: Option<&'c Tx<'c>>,
}

/// Data on its way out of a table, from [`Conn::copy_out`].
pub struct CopyOut<'c> {
    stream: Pin<Box<CopyOutStream>>,
    patience: Patience,
    running: Option<Running>,
    /// As of [`CopyIn`].
    tx: Option<&'c Tx<'c>>,
    _conn: &'c Conn,
}

impl<'c> CopyIn<'c> {
    /// Has `tx` told of what fails.
    pub(crate) fn noted_by(self, tx: &'c Tx<'c>) -> Self {
        Self { tx: Some(tx), ..self }
    }

    /// Sends a piece of the data, in the format that the statement names; pieces need not end where rows do.
    ///
    /// # Errors
    /// When the connection is lost. What is wrong with the data is said by [`CopyIn::finish`].
    ///
    /// # Cancel safety
    /// When the future is dropped it is unknown whether the piece was sent: give the whole up.
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> Result<()> {
        let sent = self.conn.patience().bound(Phase::Execute, self.sink.send(piece.into())).await;
        noted(self.tx, sent.and_then(|sent| sent.map_err(|error| failed(&error))))
    }

    /// Ends the data, and gives the number of rows that were stored.
    ///
    /// # Errors
    /// What is wrong with the data, or the loss of the connection. Nothing is stored then, unless the answer was lost
    /// ([`Outcome::Unknown`](db_core::Outcome)). The connection takes no further statement, and is replaced when it comes
    /// back.
    ///
    /// # Cancel safety
    /// When the future is dropped it is unknown whether the rows are stored, unless a transaction is open.
    pub async fn finish(mut self) -> Result<u64> {
        let finished = self.conn.patience().bound(Phase::Execute, self.sink.as_mut().finish()).await;
        let finished = finished.and_then(|finished| {
            self.running.end();
            finished.map_err(|error| {
                // Perhaps the server answers twice, and the driver would take the second answer for the next statement's.
                self.conn.spend();
                failed(&error)
            })
        });
        noted(self.tx, finished)
    }
}

impl<'c> CopyOut<'c> {
    /// Has `tx` told of what fails.
    pub(crate) fn noted_by(self, tx: &'c Tx<'c>) -> Self {
        Self { tx: Some(tx), ..self }
    }

    /// The next piece of the data; `None` after the last.
    ///
    /// # Errors
    /// The server's error, or the loss of the connection.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.running.is_none() {
            return Ok(None);
        }
        let piece = match self.patience.bound(Phase::Execute, self.stream.next()).await {
            Ok(piece) => piece,
            Err(silent) => return noted(self.tx, Err(silent)),
        };
        if !matches!(piece, Some(Ok(_)))
            && let Some(running) = self.running.take()
        {
            running.end();
        }
        noted(self.tx, piece.transpose().map_err(|error| failed(&error)))
    }
}

impl Conn {
    /// Begins a `COPY ... FROM STDIN`.
    ///
    /// # Errors
    /// As of any statement. After an error of the server here the connection takes no further statement: the driver cannot
    /// tell its answers from the next one's.
    ///
    /// # Cancel safety
    /// Dropping the future gives the copy up.
    pub async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.begin_copy_in(sql).await
    }

    pub(crate) async fn begin_copy_in(&self, sql: &str) -> Result<CopyIn<'_>> {
        let session = self.usable(Phase::Execute)?.clone();
        let running = self.start();
        match self.patience().bound(Phase::Execute, session.copy_in(sql)).await? {
            Ok(sink) => Ok(CopyIn { conn: self, sink: Box::pin(sink), running, tx: None }),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }

    /// Begins a `COPY ... TO STDOUT`.
    ///
    /// # Errors
    /// As of any statement.
    ///
    /// # Cancel safety
    /// Dropping the future, or what it gives, has the server stop.
    pub async fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.begin_copy_out(sql).await
    }

    pub(crate) async fn begin_copy_out(&self, sql: &str) -> Result<CopyOut<'_>> {
        let session = self.usable(Phase::Execute)?.clone();
        let running = self.start();
        match self.patience().bound(Phase::Execute, session.copy_out(sql)).await? {
            Ok(stream) => Ok(CopyOut {
                stream: Box::pin(stream),
                patience: self.patience(),
                running: Some(running),
                tx: None,
                _conn: self,
            }),
            Err(error) => {
                running.end();
                Err(error)
            }
        }
    }
}

/// What fails in a transaction is undone with it, and is why it cannot be committed.
fn noted<T>(tx: Option<&Tx<'_>>, result: Result<T>) -> Result<T> {
    match tx {
        Some(tx) => tx.note(false, result),
        None => result,
    }
}

fn failed(error: &tokio_postgres::Error) -> Error {
    Error::from_driver(error, Phase::Execute)
}

impl std::fmt::Debug for CopyIn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CopyOut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut").finish_non_exhaustive()
    }
}
