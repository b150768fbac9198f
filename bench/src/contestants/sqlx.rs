//! sqlx with its cache of statements, and without the ping before each use. Its driver is its own.

use anyhow::Result;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode, Postgres};

use crate::contestants::Contestant;
use crate::plan::{CONNECTIONS, PATIENCE};
use crate::workload::{INSERT, Item, PAUSE, SELECT, UPDATE};

/// sqlx.
#[derive(Debug)]
pub(crate) struct Sqlx(PgPool);

impl Contestant for Sqlx {
    type Guard<'a> = PoolConnection<Postgres>;

    async fn open(url: &str) -> Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect_with(options.ssl_mode(PgSslMode::Disable))
            .await?;
        Ok(Self(pool))
    }

    async fn acquire(&self) -> Result<Self::Guard<'_>> {
        Ok(self.0.acquire().await?)
    }

    async fn select(&self, key: i64) -> Result<Item> {
        Ok(sqlx::query_as(SELECT).bind(key).fetch_one(&self.0).await?)
    }

    async fn transaction(&self, key: i64) -> Result<()> {
        let mut tx = self.0.begin().await?;
        sqlx::query(UPDATE).bind(key).execute(&mut *tx).await?;
        let (n, _label): Item = sqlx::query_as(SELECT).bind(key).fetch_one(&mut *tx).await?;
        sqlx::query(INSERT).bind(key).bind(n).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn insert(&self, item: i64, n: i64) -> Result<()> {
        sqlx::query(INSERT).bind(item).bind(n).execute(&self.0).await?;
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let _one: (i32,) = sqlx::query_as(PAUSE).fetch_one(&self.0).await?;
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
