//! One runner at a time: an advisory lock of the session, as a guard. It protects runners from each other, not the
//! schema from other programs.

use std::time::Duration;

use db_core::Query as _;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::transaction::send;
use crate::{Error, HistoryTable, Holder, Progress, Result, Settings, Waiting};

/// The lock, held. [`Lock::release`] gives it back; dropped instead, it sends the release behind whatever runs.
pub(crate) struct Lock<'a> {
    client: &'a Client,
    /// The key as an expression: the same for everybody who migrates this table of this database.
    key: String,
    pid: i32,
    /// Whether the server may hold it for us.
    held: bool,
}

impl<'a> Lock<'a> {
    /// Asks for the lock until it is free or the wait is over.
    pub(crate) async fn acquire(
        client: &'a Client,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Lock<'a>> {
        let failed = || Error::doing("take the migration lock");
        let mut lock = Self { client, key: key(&settings.table), pid: 0, held: false };
        let sql =
            format!("SELECT pg_catalog.pg_try_advisory_lock({}), pg_catalog.pg_backend_pid()", lock.key);
        let (began, mut told) = (Instant::now(), false);
        loop {
            // From here on the server may hold it, even when the answer is never read.
            lock.held = true;
            let (taken, pid): (bool, i32) = client.one(&sql, &[]).await.map_err(failed())?;
            if taken {
                lock.pid = pid;
                return Ok(lock);
            }
            lock.held = false;
            let waited = began.elapsed();
            if waited >= settings.lock_wait {
                return Err(Error::Locked { waited, holder: lock.holder().await });
            }
            if !told {
                let holder = lock.holder().await;
                progress.waiting(&Waiting { holder: holder.as_ref(), limit: settings.lock_wait });
                told = true;
            }
            sleep(settings.lock_poll.min(settings.lock_wait.saturating_sub(waited)).max(SHORTEST_PAUSE))
                .await;
        }
    }

    /// Releases the lock and hands on the result of what ran under it. A lost lock spoils a good result only.
    pub(crate) async fn release<T>(mut self, result: Result<T>) -> Result<T> {
        let sql = format!("SELECT pg_catalog.pg_advisory_unlock({}), pg_catalog.pg_backend_pid()", self.key);
        let answer: db_core::Result<(bool, i32)> = self.client.one(&sql, &[]).await;
        let released = match answer {
            Ok((true, pid)) if pid == self.pid => Ok(()),
            Ok((_, pid)) => Err(Error::LockLost { before: self.pid, after: pid }),
            Err(source) => Err(Error::doing("release the migration lock")(source)),
        };
        self.held = false;
        match (result, released) {
            (Ok(value), released) => released.map(|()| value),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(lost)) => {
                tracing::debug!(target: "db::migrate", error = %lost, "lock not released after a failed run");
                Err(error)
            }
        }
    }

    /// Who holds the lock. Only of use for a message, so failing to find out is no error.
    async fn holder(&self) -> Option<Holder> {
        let sql = format!(
            "SELECT l.pid, coalesce(a.application_name, ''), a.usename::text
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
               AND ((l.classid::bigint << 32) | l.objid::bigint) = {}",
            self.key
        );
        let found: Option<(i32, String, Option<String>)> =
            self.client.one_or_none(&sql, &[]).await.ok().flatten();
        found.map(|(pid, application, user)| Holder { pid, application, user })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if self.held {
            send(self.client, &format!("SELECT pg_catalog.pg_advisory_unlock({})", self.key));
        }
    }
}

/// Against a busy loop when the poll interval is set to zero.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Names of tables hold nothing that would have to be quoted.
fn key(table: &HistoryTable) -> String {
    format!("pg_catalog.hashtextextended('db-migrate/' || pg_catalog.current_database() || '/{table}', 0)")
}
