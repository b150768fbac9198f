//! The probes of health checks against real servers, and the monitor that runs them. Tests in `redis` need `redis-server`;
//! those in `own_server` change or stop the server that they look at.

mod own_server;
mod redis;
pub(crate) mod redis_server;
mod sessions;
mod shared;

use std::sync::Arc;

use db_core::{Executor, Probe};
use db_health::OwnConnection;
use db_testkit::TestDatabase;

/// The connection of the probes.
fn own(database: &TestDatabase) -> Arc<OwnConnection> {
    Arc::new(OwnConnection::new(database.config()))
}

/// The reason that a probe finds, and one of its figures.
async fn look(probe: &impl Probe, figure: &str) -> (Option<&'static str>, serde_json::Value) {
    let found = probe.check().await.expect("a look");
    (found.reason, found.details[figure].clone())
}

/// Runs something without rows.
async fn run(executor: &dyn Executor, sql: &str) {
    executor.batch_execute(sql).await.expect(sql);
}
