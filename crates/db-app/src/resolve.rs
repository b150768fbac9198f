//! What became of a COMMIT whose answer was lost: who is asked, on which connection, and for how long. What the questions are
//! is in `db-retry`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use db_core::{Cause, Error, Phase, Query, ResolvedBy, Result, Signal};
use db_pool::{Conn, Tx};
use db_retry::{Jitter, Marker, Policy, Resolution, Retry, Xid};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{Database, Resolver};

/// How long is asked what became of a COMMIT when there is no deadline: what a restart of the server takes.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(10);

/// The longest wait for the other transaction to end before the question is asked anew.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Who will know whether a transaction was committed.
pub(crate) enum Witness {
    Nobody,
    Marker(Marker),
    Xid { sentinel: Arc<Client>, xid: OnceLock<Xid> },
}

impl Database {
    /// Says what became of a COMMIT whose answer was lost, by the name that [`Error::in_doubt`] gave. If the COMMIT has not
    /// taken effect by then, it never will. For at most `limit`.
    ///
    /// # Errors
    /// When the name is none, is older than 12 h, or the server cannot be asked in time.
    ///
    /// # Cancel safety
    /// It can be asked again, and gives the same answer.
    pub async fn resolve(&self, in_doubt: &str, limit: Duration) -> Result<Resolution> {
        let marker: Marker = in_doubt.parse()?;
        self.ask(&marker, Instant::now() + limit.min(Duration::from_secs(24 * 60 * 60))).await
    }

    /// Asks until there is an answer, or no time.
    async fn ask(&self, marker: &Marker, deadline: Instant) -> Result<Resolution> {
        let retry = patiently(deadline);
        let asked = retry.run(|| async {
            let conn = self.pool().acquire_until(deadline).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            settled(marker.resolve(&conn, self.lock_timeout(left)).await?)
        });
        let resolution = asked.await?;
        self.retry().commit_resolved(ResolvedBy::Marker, resolution.outcome());
        Ok(resolution)
    }

    /// How long one question waits for the other transaction: less than a statement may take, after which nobody would ask
    /// again.
    fn lock_timeout(&self, left: Duration) -> Duration {
        let limit = self.pool().settings().statement_timeout;
        let limit = if limit.is_zero() { LOCK_TIMEOUT } else { LOCK_TIMEOUT.min(limit / 2) };
        limit.min(left / 2)
    }

    async fn ask_xid(&self, xid: &Xid, sentinel: &Client, deadline: Instant) -> Result<Resolution> {
        let retry = patiently(deadline);
        let asked = retry.run(|| async {
            let conn = self.pool().acquire_until(deadline).await?;
            settled(xid.resolve(&conn, sentinel).await?)
        });
        let resolution = asked.await?;
        self.retry().commit_resolved(ResolvedBy::Xid, resolution.outcome());
        Ok(resolution)
    }
}

impl Witness {
    /// Whoever is to know must be there before the transaction begins, on the server that it runs on.
    pub(crate) async fn new(
        database: &Database,
        resolver: Option<Resolver>,
        conn: &Conn,
        deadline: Option<Instant>,
    ) -> Result<Self> {
        match resolver {
            None => Ok(Self::Nobody),
            Some(Resolver::Marker) => {
                database.doubts().ensure_table(conn).await?;
                Ok(Self::Marker(Marker::new()))
            }
            Some(Resolver::Xid) => {
                let sentinel = database.doubts().sentinel(deadline).await?;
                Ok(Self::Xid { sentinel, xid: OnceLock::new() })
            }
        }
    }

    /// What runs together with BEGIN.
    pub(crate) fn enlist(&self) -> Option<String> {
        self.marker().map(|marker| marker.enlist())
    }

    /// The name to ask for later, if there is one.
    pub(crate) fn marker(&self) -> Option<Marker> {
        match self {
            Self::Marker(marker) => Some(*marker),
            Self::Nobody | Self::Xid { .. } => None,
        }
    }

    /// Notes what must be known before COMMIT.
    pub(crate) async fn note(&self, tx: &Tx<'_>) -> Result<()> {
        if let Self::Xid { xid, .. } = self {
            let row = tx.one(Xid::enlist(), &[]).await?;
            xid.set(Xid::read(row)?).ok();
        }
        Ok(())
    }

    /// Finds out what became of the COMMIT that gave `error`: nothing is wrong if it took effect. Otherwise it is known to be
    /// rolled back, or still in doubt.
    pub(crate) async fn became(
        &self,
        database: &Database,
        deadline: Option<Instant>,
        error: Error,
    ) -> Result<()> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + WITHOUT_DEADLINE);
        let asked = match self {
            Self::Nobody => return Err(error),
            Self::Marker(marker) => database.ask(marker, deadline).await,
            Self::Xid { sentinel, xid } => match xid.get() {
                Some(xid) => database.ask_xid(xid, sentinel, deadline).await,
                None => return Err(error),
            },
        };
        match (asked, self) {
            (Ok(Resolution::Committed), _) => Ok(()),
            (Ok(Resolution::RolledBack), _) => Err(error.rolled_back().context("not committed")),
            (Ok(resolution), _) => Err(error.context(resolution)),
            (Err(why), Self::Marker(marker)) => Err(error.with_in_doubt(marker.to_string()).with_source(why)),
            (Err(why), _) => Err(error.with_source(why)),
        }
    }
}

/// Asking changes nothing that was not decided, so it may be done often; at the pace at which servers come back.
fn patiently(deadline: Instant) -> Retry {
    let mut policy = Policy::default();
    (policy.max_retries, policy.max_serialization_retries) = (u32::MAX, u32::MAX);
    (policy.initial_delay, policy.max_delay) = (Duration::from_millis(20), Duration::from_millis(500));
    policy.jitter = Jitter::Equal;
    Retry::new(policy).idempotent_write().until(deadline).named("resolve a COMMIT")
}

/// A transaction that still runs is asked for again.
fn settled(resolution: Resolution) -> Result<Resolution> {
    match resolution {
        Resolution::Running => {
            let signal = Signal::new(Cause::Unsent, Phase::Execute);
            Err(Error::new(signal, "the transaction is still being committed"))
        }
        settled => Ok(settled),
    }
}
