//! The schema that a bench works in: made at its beginning, removed at its end however that comes. One bench at a time in a
//! database.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use db_app::Database;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

/// What no application has by chance.
pub(super) const SCHEMA: &str = "db_bench";

/// How a schema of ours is known: as the comment on it.
const MARK: &str = "made by db bench, and removed by its next run";

/// Of the lock that keeps a second bench out: `db bench` in bytes.
const LOCK: i64 = i64::from_be_bytes(*b"db bench");

/// How long a server may be away when the schema is to be removed: it may just be starting again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The right to the schema.
pub(super) struct Ground<'d> {
    database: &'d Database,
    client: Client,
}

impl<'d> Ground<'d> {
    /// Takes the schema for this run, and removes what an earlier one that was killed has left.
    pub(super) async fn claim(database: &'d Database) -> Result<Self> {
        let client = database.connect_directly("bench", None).await?;
        let row = client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&LOCK]).await?;
        if !row.try_get::<_, bool>(0)? {
            bail!("another db bench runs in this database");
        }
        let found = client
            .query_opt(
                "SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '')
                 FROM pg_catalog.pg_namespace WHERE nspname = $1",
                &[&SCHEMA],
            )
            .await?;
        if let Some(row) = found {
            if row.try_get::<_, String>(0)? != MARK {
                bail!(
                    "there is a schema {SCHEMA} that db bench did not make: it needs one of that name for itself"
                );
            }
            client.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await?;
        }
        Ok(Self { database, client })
    }

    /// Makes the schema with these tables, for the role that the pool connects as. All or nothing.
    pub(super) async fn lay(&self, tables: &str) -> Result<()> {
        let user = &self.database.server().user;
        let quoted = format!("\"{}\"", user.replace('"', "\"\""));
        let script = format!(
            "BEGIN;
             CREATE SCHEMA {SCHEMA};
             COMMENT ON SCHEMA {SCHEMA} IS '{MARK}';
             {tables}
             GRANT USAGE ON SCHEMA {SCHEMA} TO {quoted};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {quoted};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {quoted};
             COMMIT;"
        );
        let made = self.client.batch_execute(&script).await;
        made.with_context(|| {
            format!("cannot make the schema {SCHEMA}: the role needs CREATE on the database (DATABASE_MIGRATION_URL may name another role)")
        })
    }

    /// Removes the schema. What still runs in it is waited for.
    pub(super) async fn remove(mut self) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let removed = self.try_to_remove().await;
            match removed {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= give_up => {
                    return Err(error).with_context(|| {
                        format!("the schema {SCHEMA} is left behind: DROP SCHEMA {SCHEMA} CASCADE")
                    });
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn try_to_remove(&mut self) -> Result<()> {
        // The server may have been restarted meanwhile.
        if self.client.is_closed() {
            self.client = self.database.connect_directly("bench", None).await?;
        }
        // An interrupted beginning may have left its transaction open.
        self.client.batch_execute("ROLLBACK; SET lock_timeout = '5s'").await?;
        self.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await?;
        Ok(())
    }
}
