//! The server's side: the tables, and how many connections a contestant really has.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::plan::CONNECTIONS;
use crate::workload::ROWS;

/// A connection beside the contestants'.
#[derive(Debug)]
pub(crate) struct Server {
    client: Client,
    version: String,
}

impl Server {
    /// Makes the tables. Vacuuming is off and half of each page is free, so that no contestant meets a server that tidies
    /// up after another; a commit does not wait for the disk, which is not what is compared.
    pub(crate) async fn prepare(url: &str) -> Result<Self> {
        let (client, connection) =
            tokio_postgres::connect(url, NoTls).await.context("cannot connect to PostgreSQL")?;
        // Its error reaches the client's caller as well.
        tokio::spawn(async { connection.await.ok() });
        let database: String = client.query_one("SELECT current_database()", &[]).await?.get(0);
        let sql = format!(
            "ALTER DATABASE \"{database}\" SET synchronous_commit = off;
             CREATE TABLE items (id bigint PRIMARY KEY, n bigint NOT NULL, label text NOT NULL)
                 WITH (fillfactor = 50, autovacuum_enabled = false);
             INSERT INTO items SELECT id, 0, 'item ' || id FROM generate_series(1, {ROWS}) id;
             CREATE TABLE journal (
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item bigint NOT NULL, n bigint NOT NULL
             ) WITH (autovacuum_enabled = false);
             VACUUM ANALYZE items;"
        );
        for statement in sql.split(';') {
            client.batch_execute(statement).await.context("cannot make the tables")?;
        }
        let version = client.query_one("SHOW server_version", &[]).await?.get(0);
        let this = Self { client, version };
        this.has_room().await?;
        Ok(this)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Empties the table that grows.
    pub(crate) async fn tidy(&self) -> Result<()> {
        Ok(self.client.batch_execute("TRUNCATE journal RESTART IDENTITY").await?)
    }

    /// Rows that transactions have inserted.
    pub(crate) async fn journal_len(&self) -> Result<i64> {
        Ok(self.client.query_one("SELECT count(*) FROM journal", &[]).await?.get(0))
    }

    /// Connections to this database but ours.
    pub(crate) async fn connections(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
                   AND datname = current_database() AND pid <> pg_backend_pid()";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Waits until the connections of a closed pool are gone, so that the next one has the server to itself.
    pub(crate) async fn wait_until_alone(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.connections().await? > 0 {
            if Instant::now() > deadline {
                bail!("connections of a closed pool are still open after 10 s");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Three pools are open at once while acquiring is measured.
    async fn has_room(&self) -> Result<()> {
        let sql = "SELECT current_setting('max_connections')::int8 - count(*)
                   FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let room: i64 = self.client.query_one(sql, &[]).await?.get(0);
        let needed = i64::from(CONNECTIONS) * 3 + 5;
        ensure!(room >= needed, "the server has room for {room} connections, {needed} are needed");
        Ok(())
    }
}
