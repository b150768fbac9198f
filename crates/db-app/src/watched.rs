//! The server that a pool goes to, as the monitor sees it: over one connection of its own, opened like every other, so that what
//! it sees does not depend on how busy the pool is.

use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Executor, Finding, Params, Probe, Result, RowStream};
use db_health::ExecutorProbe;
use db_pool::Pool;
use futures_util::{StreamExt, stream};
use tokio_postgres::{Client, Row};

use crate::aside::Aside;

/// A probe of a pool's server.
pub(crate) struct Watched {
    name: &'static str,
    /// Kept until it is closed, also when a look is given up: a server that answers nothing is asked again on the same
    /// connection, and no second one is left behind. The driver throws late answers away.
    aside: Aside,
}

impl Watched {
    pub(crate) fn new(name: &'static str, pool: &Pool) -> Self {
        Self { name, aside: Aside::new("db health", pool) }
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        self.aside.close();
    }

    /// The connection, opened anew when it is gone, or the pool has turned to another server.
    pub(crate) async fn client(&self) -> Result<Arc<Client>> {
        self.aside.client().await
    }
}

#[async_trait]
impl Probe for Watched {
    fn name(&self) -> &str {
        self.name
    }

    async fn check(&self) -> Result<Finding> {
        ExecutorProbe::new(self.name, self.client().await?).check().await
    }
}

/// For probes that ask more than whether it answers, over the same connection.
#[async_trait]
impl Executor for Watched {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.client().await?.fetch(sql, params).await
    }

    /// All rows at once: what probes ask for is little.
    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        let rows = self.fetch(sql, params).await?;
        Ok(stream::iter(rows.into_iter().map(Ok)).boxed())
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Executor::execute(&*self.client().await?, sql, params).await
    }

    async fn batch_execute(&self, sql: &str) -> Result<()> {
        Executor::batch_execute(&*self.client().await?, sql).await
    }
}
