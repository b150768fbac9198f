//! How a transaction of the façade is run: what the server is told, how long it may take, and what happens when it fails.

use std::time::Duration;

use db_pool::Isolation;

/// How [`Database::tx_with`](crate::Database::tx_with) runs a transaction. [`Default`] is what
/// [`Database::tx`](crate::Database::tx) does: once, without a deadline, at the session's isolation level.
///
/// ```
/// use std::time::Duration;
///
/// use db_app::{Isolation, Resolver, TxOptions};
///
/// let transfer = TxOptions::new()
///     .isolation(Isolation::Serializable)
///     .deadline(Duration::from_secs(3))
///     .retry()
///     .resolver(Resolver::Marker);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxOptions {
    pub(crate) begin: db_pool::TxOptions,
    pub(crate) deadline: Option<Duration>,
    pub(crate) is_retried: bool,
    pub(crate) resolver: Option<Resolver>,
}

/// How it is found out whether a COMMIT whose answer was lost took effect. Complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolver {
    /// A row in the table `db_tx_outcome`, written in the transaction itself. Exact, also after a crash or a failover, and it
    /// shuts out a COMMIT that is still on its way. Costs one row for each transaction, in the round trip of BEGIN.
    Marker,
    /// The transaction's id, which the server remembers. Costs a round trip and one connection beside the pool, and no row;
    /// after a crash of the server the outcome stays unknown.
    Xid,
}

impl TxOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the isolation level.
    #[must_use]
    pub fn isolation(mut self, level: Isolation) -> Self {
        self.begin = self.begin.isolation(level);
        self
    }

    /// Has the server refuse writes. There is nothing to resolve then.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.begin = self.begin.read_only();
        self
    }

    /// Waits at the beginning for a snapshot that nothing can conflict with; for serializable read-only transactions.
    #[must_use]
    pub fn deferrable(mut self) -> Self {
        self.begin = self.begin.deferrable();
        self
    }

    /// Sets how long it may take altogether: waiting for a connection, all attempts with their pauses, finding out what became
    /// of a COMMIT. A tenth of it is kept for the latter when there is a [resolver](Self::resolver).
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Runs the whole again when it is known to be rolled back and may succeed the next time: it lost a race (40001, 40P01,
    /// 55P03), or the connection before its COMMIT. How often is said by the configuration. The body is run again from
    /// the start, so what it does outside the database happens again, too.
    #[must_use]
    pub fn retry(mut self) -> Self {
        self.is_retried = true;
        self
    }

    /// Finds out what became of a COMMIT without an answer.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }
}
