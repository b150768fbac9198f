//! Whether the server can still write to its disk. It measures no space: SQL knows of none.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Executor, Finding, Probe, Result};
use tokio::time::Instant;

use super::millis;

/// Rows for more memory than a statement is allowed here, so that the server writes a file of some 200 kB and removes it. Sent as
/// one string, which is one transaction: the setting ends with it, also when it fails.
const SPILL: &str =
    "SET LOCAL work_mem = '64kB'; SELECT count(*) FROM generate_series(1, 10000) AS rows_to_spill";

/// Has the server write a little: a server without space (`disk_full`), or one that became read-only (`read_only`), is unhealthy
/// before the first user finds out.
///
/// By itself it only has a temporary file written, some 200 kB, which needs no privilege, no table, leaves nothing behind, and
/// works on a standby. That shows a full disk under the data (or under `temp_tablespaces`). A full disk under the write-ahead
/// log stops the server, which any ping sees. [`DiskProbe::writing`] adds a statement of yours that really commits.
pub struct DiskProbe {
    name: String,
    executor: Arc<dyn Executor>,
    statement: Option<String>,
}

impl DiskProbe {
    /// A probe through `executor`. Every 30 s is often enough.
    #[must_use]
    pub fn new(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor, statement: None }
    }

    /// Runs this as well, such as an `UPDATE` of a row that exists for that.
    #[must_use]
    pub fn writing(mut self, statement: impl Into<String>) -> Self {
        self.statement = Some(statement.into());
        self
    }
}

#[async_trait]
impl Probe for DiskProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let started = Instant::now();
        self.executor.batch_execute(SPILL).await?;
        if let Some(statement) = &self.statement {
            self.executor.execute(statement, &[]).await?;
        }
        Ok(Finding::healthy().with("latency_ms", millis(started.elapsed())))
    }
}

impl fmt::Debug for DiskProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskProbe").field("name", &self.name).finish_non_exhaustive()
    }
}
