//! deadpool-postgres with its cache of statements (`prepare_cached`) and its default way of recycling, which asks the
//! server nothing.

use anyhow::Result;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, Runtime};
use tokio_postgres::NoTls;

use crate::contestants::Contestant;
use crate::plan::{CONNECTIONS, PATIENCE};
use crate::workload::{INSERT, Item, PAUSE, SELECT, UPDATE};

/// deadpool-postgres.
#[derive(Debug)]
pub(crate) struct Deadpool(Pool);

impl Contestant for Deadpool {
    type Guard<'a> = Object;

    async fn open(url: &str) -> Result<Self> {
        let manager = Manager::from_config(url.parse()?, NoTls, ManagerConfig::default());
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS as usize)
            .wait_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self(pool))
    }

    async fn acquire(&self) -> Result<Object> {
        Ok(self.0.get().await?)
    }

    async fn select(&self, key: i64) -> Result<Item> {
        let client = self.0.get().await?;
        let select = client.prepare_cached(SELECT).await?;
        let row = client.query_one(&select, &[&key]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn transaction(&self, key: i64) -> Result<()> {
        let mut client = self.0.get().await?;
        let tx = client.transaction().await?;
        let update = tx.prepare_cached(UPDATE).await?;
        tx.execute(&update, &[&key]).await?;
        let select = tx.prepare_cached(SELECT).await?;
        let row = tx.query_one(&select, &[&key]).await?;
        let (n, _label): Item = (row.try_get(0)?, row.try_get(1)?);
        let insert = tx.prepare_cached(INSERT).await?;
        tx.execute(&insert, &[&key, &n]).await?;
        Ok(tx.commit().await?)
    }

    async fn insert(&self, item: i64, n: i64) -> Result<()> {
        let client = self.0.get().await?;
        let insert = client.prepare_cached(INSERT).await?;
        client.execute(&insert, &[&item, &n]).await?;
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let client = self.0.get().await?;
        let pause = client.prepare_cached(PAUSE).await?;
        let _one: i32 = client.query_one(&pause, &[]).await?.try_get(0)?;
        Ok(())
    }

    async fn close(&self) {
        self.0.close();
    }
}
