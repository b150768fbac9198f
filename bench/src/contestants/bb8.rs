//! bb8-postgres. It has no cache of statements, so a manager around its own keeps the prepared statements beside
//! each client: the fastest that a user of bb8 can build, without even the look-up that a cache costs.

use anyhow::Result;
use bb8::{ManageConnection, Pool, PooledConnection};
use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::{Client, Error, NoTls, Statement};

use crate::contestants::Contestant;
use crate::plan::{CONNECTIONS, PATIENCE};
use crate::workload::{INSERT, Item, PAUSE, SELECT, UPDATE};

/// bb8-postgres.
#[derive(Debug)]
pub(crate) struct Bb8(Pool<Preparing>);

/// Prepares the statements of each new connection.
#[derive(Debug)]
pub(crate) struct Preparing(PostgresConnectionManager<NoTls>);

/// A client and its statements.
#[derive(Debug)]
pub(crate) struct Prepared {
    client: Client,
    select: Statement,
    update: Statement,
    insert: Statement,
    pause: Statement,
}

impl ManageConnection for Preparing {
    type Connection = Prepared;
    type Error = Error;

    async fn connect(&self) -> Result<Prepared, Error> {
        let client = self.0.connect().await?;
        let select = client.prepare(SELECT).await?;
        let update = client.prepare(UPDATE).await?;
        let insert = client.prepare(INSERT).await?;
        let pause = client.prepare(PAUSE).await?;
        Ok(Prepared { client, select, update, insert, pause })
    }

    async fn is_valid(&self, prepared: &mut Prepared) -> Result<(), Error> {
        self.0.is_valid(&mut prepared.client).await
    }

    fn has_broken(&self, prepared: &mut Prepared) -> bool {
        self.0.has_broken(&mut prepared.client)
    }
}

impl Contestant for Bb8 {
    type Guard<'a> = PooledConnection<'a, Preparing>;

    async fn open(url: &str) -> Result<Self> {
        let manager = Preparing(PostgresConnectionManager::new(url.parse()?, NoTls));
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .connection_timeout(PATIENCE)
            .test_on_check_out(false)
            .build(manager)
            .await?;
        Ok(Self(pool))
    }

    async fn acquire(&self) -> Result<Self::Guard<'_>> {
        Ok(self.0.get().await?)
    }

    async fn select(&self, key: i64) -> Result<Item> {
        let prepared = self.0.get().await?;
        let row = prepared.client.query_one(&prepared.select, &[&key]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn transaction(&self, key: i64) -> Result<()> {
        let mut prepared = self.0.get().await?;
        let Prepared { client, select, update, insert, .. } = &mut *prepared;
        let tx = client.transaction().await?;
        tx.execute(&*update, &[&key]).await?;
        let row = tx.query_one(&*select, &[&key]).await?;
        let (n, _label): Item = (row.try_get(0)?, row.try_get(1)?);
        tx.execute(&*insert, &[&key, &n]).await?;
        Ok(tx.commit().await?)
    }

    async fn insert(&self, item: i64, n: i64) -> Result<()> {
        let prepared = self.0.get().await?;
        prepared.client.execute(&prepared.insert, &[&item, &n]).await?;
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let prepared = self.0.get().await?;
        let _one: i32 = prepared.client.query_one(&prepared.pause, &[]).await?.try_get(0)?;
        Ok(())
    }

    async fn close(&self) {
        // bb8 cannot be closed: its connections end when the last handle is dropped.
    }
}
