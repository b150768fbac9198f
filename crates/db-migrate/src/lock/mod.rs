//! One runner at a time. It protects runners from each other, not the schema from other programs.

mod lease;
mod session;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::message::Answer;
use crate::{Error, Holder, LockKind, Progress, Result, Settings, Waiting};
use lease::Lease;
use session::SessionLock;

/// The lock, held. [`Lock::release`] gives it back; dropped instead, it sends the release behind whatever runs.
pub(crate) enum Lock<'a> {
    Session(SessionLock<'a>),
    Lease(Lease<'a>),
}

/// What must hold in the transaction of every migration: nothing is committed after the lock was lost.
#[derive(Clone, Debug)]
pub(crate) enum Fence {
    /// It runs in the session that holds the lock.
    Process(i32),
    /// The lease is still ours; the statement renews it and returns a row only then.
    Lease { renewal: String, ttl: Duration },
}

impl Fence {
    /// Statements of which the last one keeps record, with what the check needs in front.
    pub(crate) fn around(&self, record: &str) -> String {
        match self {
            Self::Process(_) => record.to_owned(),
            Self::Lease { renewal, .. } => format!("{renewal};{record}"),
        }
    }

    /// Looks at the answers to [`Fence::around`]: the last statement returned the server process.
    pub(crate) fn check(&self, answers: &[Answer]) -> Result<()> {
        match (self, answers) {
            (Self::Process(before), [.., record]) => {
                let after = record.value.as_ref().and_then(|value| value.parse().ok()).unwrap_or_default();
                if after == *before { Ok(()) } else { Err(Error::LockLost { before: *before, after }) }
            }
            (Self::Lease { .. }, [renewal, ..]) if renewal.value.is_some() => Ok(()),
            _ => Err(Error::LeaseLost),
        }
    }
}

impl<'a> Lock<'a> {
    /// Asks for the lock until it is free or the wait is over.
    pub(crate) async fn acquire(
        client: &'a Client,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Lock<'a>> {
        let mut lock = match settings.lock {
            LockKind::Session => Self::Session(SessionLock::new(client, &settings.table)),
            LockKind::Lease { ttl } => Self::Lease(Lease::new(client, &settings.table, ttl).await?),
        };
        let (began, mut told) = (Instant::now(), false);
        while !lock.try_acquire().await? {
            let waited = began.elapsed();
            if waited >= settings.lock_wait {
                return Err(Error::Locked { waited, holder: lock.holder().await });
            }
            if !told {
                let holder = lock.holder().await;
                progress.waiting(&Waiting { holder: holder.as_ref(), limit: settings.lock_wait });
                told = true;
            }
            let left = settings.lock_wait.saturating_sub(waited);
            sleep(settings.lock_poll.min(left).max(SHORTEST_PAUSE)).await;
        }
        Ok(lock)
    }

    pub(crate) fn fence(&self) -> Fence {
        match self {
            Self::Session(lock) => Fence::Process(lock.pid()),
            Self::Lease(lease) => lease.fence(),
        }
    }

    /// Releases the lock and hands on the result of what ran under it. A lost lock spoils a good result only.
    pub(crate) async fn release<T>(self, result: Result<T>) -> Result<T> {
        let released = match self {
            Self::Session(lock) => lock.release().await,
            Self::Lease(lease) => lease.release().await,
        };
        match (result, released) {
            (Ok(value), released) => released.map(|()| value),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(lost)) => {
                tracing::debug!(target: "db::migrate", error = %lost, "lock not released after a failed run");
                Err(error)
            }
        }
    }

    async fn try_acquire(&mut self) -> Result<bool> {
        match self {
            Self::Session(lock) => lock.try_acquire().await,
            Self::Lease(lease) => lease.try_acquire().await,
        }
    }

    /// Who holds the lock. Only of use for a message, so failing to find out is no error.
    async fn holder(&self) -> Option<Holder> {
        match self {
            Self::Session(lock) => lock.holder().await,
            Self::Lease(lease) => lease.holder().await,
        }
    }
}

/// Against a busy loop when the poll interval is set to zero.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
