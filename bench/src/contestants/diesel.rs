//! diesel-async on tokio-postgres with its deadpool, its cache of statements, and without the `SELECT 1` before each use.
//!
//! Diesel never keeps an UPDATE that its own DSL has written: it prepares it anew each time. Here the UPDATE is a fragment
//! of our own that may be kept. With the DSL its transactions would be slower.

use anyhow::Result;
use deadpool_postgres::Runtime;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use crate::contestants::Contestant;
use crate::plan::{CONNECTIONS, PATIENCE};
use crate::workload::{Item, PAUSE, UPDATE};

diesel::table! {
    items (id) {
        id -> BigInt,
        n -> BigInt,
        label -> Text,
    }
}

diesel::table! {
    journal (id) {
        id -> BigInt,
        item -> BigInt,
        n -> BigInt,
    }
}

/// diesel-async.
pub(crate) struct Diesel(Pool<AsyncPgConnection>);

impl Contestant for Diesel {
    type Guard<'a> = Object<AsyncPgConnection>;

    async fn open(url: &str) -> Result<Self> {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS as usize)
            .wait_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self(pool))
    }

    async fn acquire(&self) -> Result<Self::Guard<'_>> {
        Ok(self.0.get().await?)
    }

    async fn select(&self, key: i64) -> Result<Item> {
        let mut conn = self.0.get().await?;
        Ok(items::table.find(key).select((items::n, items::label)).get_result(&mut *conn).await?)
    }

    async fn transaction(&self, key: i64) -> Result<()> {
        let mut conn = self.0.get().await?;
        let done: QueryResult<()> = conn
            .transaction(async |conn| {
                Increment { key }.execute(&mut *conn).await?;
                let item = items::table.find(key);
                let (n, _label): Item = item.select((items::n, items::label)).get_result(&mut *conn).await?;
                let row = (journal::item.eq(key), journal::n.eq(n));
                diesel::insert_into(journal::table).values(row).execute(&mut *conn).await?;
                Ok(())
            })
            .await;
        Ok(done?)
    }

    async fn insert(&self, item: i64, n: i64) -> Result<()> {
        let mut conn = self.0.get().await?;
        let row = (journal::item.eq(item), journal::n.eq(n));
        diesel::insert_into(journal::table).values(row).execute(&mut *conn).await?;
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let mut conn = self.0.get().await?;
        diesel::sql_query(PAUSE).execute(&mut *conn).await?;
        Ok(())
    }

    async fn close(&self) {
        self.0.close();
    }
}

/// The UPDATE, as a query that is always the same text.
#[derive(Debug, QueryId)]
struct Increment {
    key: i64,
}

impl QueryFragment<Pg> for Increment {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(UPDATE.trim_end_matches("$1"));
        out.push_bind_param::<BigInt, _>(&self.key)
    }
}
