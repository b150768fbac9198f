//! A row that says who runs and until when, as a guard: for connections whose sessions are not theirs alone. Times are the
//! server's.

use std::time::Duration;

use db_core::Executor;
use tokio_postgres::Client;

use super::Fence;
use crate::history::{create_schema_sql, literal};
use crate::transaction::send;
use crate::{Error, HistoryTable, Holder, Result, ask};

pub(crate) struct Lease<'a> {
    client: &'a Client,
    table: String,
    /// Ours alone.
    token: String,
    ttl: Duration,
    held: bool,
}

impl<'a> Lease<'a> {
    /// Creates the table unless it exists.
    pub(super) async fn new(client: &'a Client, history: &HistoryTable, ttl: Duration) -> Result<Lease<'a>> {
        let table = history.lease_sql();
        let failed = || Error::creating_history(history);
        let exists: bool =
            ask::one(client, &format!("SELECT pg_catalog.to_regclass({}) IS NOT NULL", literal(&table)))
                .await
                .map_err(failed())?;
        if !exists {
            let schema = create_schema_sql(client, history).await.map_err(failed())?;
            // Two may do so at once, and the second one's IF NOT EXISTS may still collide with the first.
            let sql = format!(
                "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('db-migrate/{history}/lease', 0));
                 {schema}
                 CREATE TABLE IF NOT EXISTS {table} (
                     only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
                     token       text        NOT NULL,
                     pid         integer     NOT NULL,
                     application text        NOT NULL,
                     by_role     text        NOT NULL,
                     expires_at  timestamptz NOT NULL
                 )"
            );
            Executor::batch_execute(client, &sql).await.map_err(failed())?;
        }
        let token: String =
            ask::one(client, "SELECT pg_catalog.gen_random_uuid()::text").await.map_err(failed())?;
        Ok(Self { client, table, token, ttl, held: false })
    }

    pub(super) fn fence(&self) -> Fence {
        let renewal = format!(
            "UPDATE {} SET expires_at = {} WHERE token = {} RETURNING 1",
            self.table,
            until(self.ttl),
            literal(&self.token)
        );
        Fence::Lease { renewal, ttl: self.ttl }
    }

    pub(super) async fn try_acquire(&mut self) -> Result<bool> {
        let sql = format!(
            "INSERT INTO {table} AS lease (token, pid, application, by_role, expires_at)
             SELECT {token}, pg_catalog.pg_backend_pid(), pg_catalog.current_setting('application_name'),
                 current_user, {until}
             ON CONFLICT (only_row) DO UPDATE
             SET (token, pid, application, by_role, expires_at) =
                 (excluded.token, excluded.pid, excluded.application, excluded.by_role, excluded.expires_at)
             WHERE lease.expires_at < pg_catalog.clock_timestamp() OR lease.token = {token}
             RETURNING true",
            table = self.table,
            token = literal(&self.token),
            until = until(self.ttl),
        );
        // From here on the row may be ours, even when the answer is never read.
        self.held = true;
        let answer: Option<bool> =
            ask::one_or_none(self.client, &sql).await.map_err(Error::doing("take the migration lease"))?;
        self.held = answer.is_some();
        Ok(self.held)
    }

    pub(super) async fn release(mut self) -> Result<()> {
        let removed: db_core::Result<Option<bool>> = ask::one_or_none(self.client, &self.removal()).await;
        self.held = false;
        match removed.map_err(Error::doing("give back the migration lease"))? {
            None => Err(Error::LeaseLost),
            Some(_) => Ok(()),
        }
    }

    pub(super) async fn holder(&self) -> Option<Holder> {
        let sql = format!("SELECT pid, application, by_role FROM {}", self.table);
        let found: Option<(i32, String, String)> = ask::one_or_none(self.client, &sql).await.ok().flatten();
        found.map(|(pid, application, user)| Holder { pid, application, user: Some(user) })
    }

    fn removal(&self) -> String {
        format!("DELETE FROM {} WHERE token = {} RETURNING true", self.table, literal(&self.token))
    }
}

fn until(ttl: Duration) -> String {
    format!("pg_catalog.clock_timestamp() + interval '{} milliseconds'", ttl.as_millis())
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.held {
            send(self.client, &self.removal());
        }
    }
}
