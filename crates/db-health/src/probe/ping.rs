//! The first question of all: does the server answer? Over a connection of its own, or through any executor.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Executor, Finding, Probe, Query, Result};
use tokio::time::Instant;
use tokio_postgres::Config;

use super::millis;
use crate::OwnConnection;

/// Pings a server over one connection that is opened when needed and then kept: what it sees does not depend on how
/// busy any pool is.
pub struct ConnectionProbe {
    name: String,
    connection: OwnConnection,
}

impl ConnectionProbe {
    /// A probe of the server at `target`, over an [`OwnConnection`].
    #[must_use]
    pub fn new(name: impl Into<String>, target: Config) -> Self {
        Self { name: name.into(), connection: OwnConnection::new(target) }
    }
}

#[async_trait]
impl Probe for ConnectionProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        ping(&self.connection).await
    }
}

impl fmt::Debug for ConnectionProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Pings through any executor, for example somebody's own pool. A pool that is busy looks like a server that is slow.
pub struct ExecutorProbe {
    name: String,
    executor: Arc<dyn Executor>,
}

impl ExecutorProbe {
    /// A probe through `executor`.
    #[must_use]
    pub fn new(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor }
    }
}

#[async_trait]
impl Probe for ExecutorProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        ping(&*self.executor).await
    }
}

impl fmt::Debug for ExecutorProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

async fn ping(executor: &dyn Executor) -> Result<Finding> {
    let started = Instant::now();
    let (version, is_standby): (String, bool) =
        executor.one("SELECT current_setting('server_version'), pg_is_in_recovery()", &[]).await?;
    Ok(Finding::healthy()
        .with("latency_ms", millis(started.elapsed()))
        .with("version", version)
        .with("role", if is_standby { "standby" } else { "primary" }))
}
