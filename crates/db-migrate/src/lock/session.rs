//! An advisory lock of the session, as a guard. It is polled: a session that waits for it inside of the server holds a
//! snapshot, which `CREATE INDEX CONCURRENTLY` of the one that holds it would wait for.

use tokio_postgres::Client;

use crate::transaction::send;
use crate::{Error, HistoryTable, Holder, Result, ask};

pub(crate) struct SessionLock<'a> {
    client: &'a Client,
    /// The key as an expression: the same for everybody who migrates this table of this database.
    key: String,
    pid: i32,
    /// Whether the server may hold it for us.
    held: bool,
}

impl<'a> SessionLock<'a> {
    pub(super) fn new(client: &'a Client, table: &HistoryTable) -> Self {
        // Names of tables hold nothing that would have to be quoted.
        let key = format!(
            "pg_catalog.hashtextextended('db-migrate/'::text || pg_catalog.current_database()::text || '/{table}'::text, 0)"
        );
        Self { client, key, pid: 0, held: false }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) async fn try_acquire(&mut self) -> Result<bool> {
        // The server gives a lock to the session that has it again and again, so another run on this very connection is looked
        // for first.
        let sql = format!(
            "SELECT CASE WHEN EXISTS ({}) THEN false ELSE pg_catalog.pg_try_advisory_lock({}) END,
                    pg_catalog.pg_backend_pid()",
            self.held_by("l.pid = pg_catalog.pg_backend_pid()", "SELECT"),
            self.key
        );
        // From here on the server may hold it, even when the answer is never read.
        self.held = true;
        let answer = ask::one(self.client, &sql).await;
        let (taken, pid): (bool, i32) = answer.map_err(Error::doing("take the migration lock"))?;
        (self.held, self.pid) = (taken, pid);
        if taken {
            self.check().await?;
        }
        Ok(taken)
    }

    /// The next transaction must find itself in the session that holds the lock.
    async fn check(&mut self) -> Result<()> {
        let answer = ask::one(self.client, "SELECT pg_catalog.pg_backend_pid()").await;
        let after: i32 = answer.map_err(Error::doing("check the migration lock"))?;
        if after == self.pid {
            return Ok(());
        }
        // The pooler may well lend us the session with the lock once more: it is the one that went back first.
        let unlock = format!("SELECT pg_catalog.pg_advisory_unlock({})", self.key);
        for _ in 0..UNLOCK_ATTEMPTS {
            if matches!(ask::one(self.client, &unlock).await, Ok(true) | Err(_)) {
                self.held = false;
                break;
            }
        }
        Err(Error::LockLost { before: self.pid, after })
    }

    pub(super) async fn release(mut self) -> Result<()> {
        let sql = format!("SELECT pg_catalog.pg_advisory_unlock({}), pg_catalog.pg_backend_pid()", self.key);
        let answer: db_core::Result<(bool, i32)> = ask::one(self.client, &sql).await;
        self.held = false;
        match answer {
            Ok((true, pid)) if pid == self.pid => Ok(()),
            Ok((_, pid)) => Err(Error::LockLost { before: self.pid, after: pid }),
            Err(source) => Err(Error::doing("release the migration lock")(source)),
        }
    }

    pub(super) async fn holder(&self) -> Option<Holder> {
        let sql = self.held_by("true", "SELECT l.pid, coalesce(a.application_name, ''), a.usename::text");
        let found: Option<(i32, String, Option<String>)> =
            ask::one_or_none(self.client, &sql).await.ok().flatten();
        found.map(|(pid, application, user)| Holder { pid, application, user })
    }

    /// Sessions that hold the lock.
    fn held_by(&self, condition: &str, select: &str) -> String {
        format!(
            "{select} FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND {condition}
               AND l.database = (
                   SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
               AND ((l.classid::bigint << 32) | l.objid::bigint) = {}",
            self.key
        )
    }
}

/// More server connections than a pooler keeps for one database and role by default.
const UNLOCK_ATTEMPTS: u32 = 30;

impl Drop for SessionLock<'_> {
    fn drop(&mut self) {
        if self.held {
            send(self.client, &format!("SELECT pg_catalog.pg_advisory_unlock({})", self.key));
        }
    }
}
