//! Health checks over somebody's own `deadpool-postgres` pool: `DATABASE_URL=... cargo run -p db-health --example deadpool`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Cause, Error, Finding, Phase, Probe, Query, Result, Signal};
use db_health::{Check, Monitor, view};
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

/// A client of the pool has the verbs of `Query`; that is all a probe needs.
struct Deadpool(Pool);

#[async_trait]
impl Probe for Deadpool {
    fn name(&self) -> &str {
        "postgres"
    }

    async fn check(&self) -> Result<Finding> {
        let busy = |error| Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), format!("{error}"));
        let client = self.0.get().await.map_err(busy)?;
        let uptime: f64 = Query::one(
            &**client,
            "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float8",
            &[],
        )
        .await?;
        Ok(Finding::healthy().with("uptime_s", uptime))
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(4).build()?;
    let monitor = Arc::new(Monitor::start(vec![Check::new(Deadpool(pool))]));
    monitor.first_looks().await;
    let snapshot = monitor.snapshot();
    println!("{}", view::terminus(&snapshot, view::Audience::Insider));
    if snapshot.is_ready() { Ok(()) } else { Err("not ready".into()) }
}
