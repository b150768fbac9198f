//! db-pool, called as its users call it: by the verbs on the pool.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use db_core::Observer;
use db_core::prelude::*;
use db_pool::{Conn, Pool, Settings};

use crate::contestants::Contestant;
use crate::plan::{CONNECTIONS, PATIENCE};
use crate::workload::{INSERT, Item, PAUSE, SELECT, UPDATE};

/// Ours.
#[derive(Debug)]
pub(crate) struct Ours(Pool);

impl Ours {
    /// With an observer in place of the log.
    pub(crate) async fn open_observed(url: &str, observer: Arc<dyn Observer>) -> Result<Self> {
        Ok(Self(Pool::open_observed(url.parse::<db_pool::Target>()?, settings(), observer).await?))
    }
}

/// What a contestant of ours with other settings would change.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.max = CONNECTIONS;
    settings.acquire_timeout = PATIENCE;
    settings.queue_limit = 1_000_000;
    settings
}

impl Contestant for Ours {
    type Guard<'a> = Conn;

    async fn open(url: &str) -> Result<Self> {
        Ok(Self(Pool::open(url.parse::<db_pool::Target>()?, settings()).await?))
    }

    async fn acquire(&self) -> Result<Conn> {
        Ok(self.0.acquire().await?)
    }

    async fn select(&self, key: i64) -> Result<Item> {
        Ok(self.0.one(SELECT, &[&key]).await?)
    }

    async fn transaction(&self, key: i64) -> Result<()> {
        let body = async |tx: &mut db_pool::Tx<'_>| {
            tx.execute(UPDATE, &[&key]).await?;
            let (n, _label): Item = tx.one(SELECT, &[&key]).await?;
            tx.execute(INSERT, &[&key, &n]).await?;
            Ok(())
        };
        Ok(self.0.tx(body).await?)
    }

    async fn batch(&self, key: i64) -> Result<()> {
        self.0.batch(&[(UPDATE, &[&key]), (SELECT, &[&key]), (INSERT, &[&key, &key])]).await?;
        Ok(())
    }

    async fn insert(&self, item: i64, n: i64) -> Result<()> {
        self.0.execute(INSERT, &[&item, &n]).await?;
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let _one: i32 = self.0.one(PAUSE, &[]).await?;
        Ok(())
    }

    async fn close(&self) {
        // Whoever measures waits until the connections are gone, and says so when they are not.
        self.0.close(Duration::from_secs(5)).await.ok();
    }
}
