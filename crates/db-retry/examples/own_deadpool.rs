//! Retries over somebody's own `deadpool-postgres` pool and its errors: `cargo run -p db-retry --example own_deadpool`. Takes the
//! server of `DATABASE_URL`; without it starts a PostgreSQL of this machine for the moment.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::atomic::{AtomicU32, Ordering};

use db_core::{Error, Kind, Phase};
use db_retry::Policy;
use db_testkit::{Backend, TestServer};
use deadpool_postgres::{Manager, Pool, PoolError};
use tokio_postgres::NoTls;

/// What is worth another attempt is for the caller to say. This is a read: nothing can happen twice.
fn is_lost(error: &PoolError) -> bool {
    let PoolError::Backend(error) = error else { return false };
    let error = Error::from_driver(error, Phase::Execute);
    println!("failed: {error}");
    error.kind() == Kind::Connection
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Backend::find(std::env::var("DATABASE_URL").ok(), "none", std::env::var_os("PATH"))
        .map_err(|error| format!("{error}; or name a server by DATABASE_URL"))?;
    let server = TestServer::start(&backend).await?;
    println!("on {}", server.origin());
    let pool = Pool::builder(Manager::new(server.url().parse()?, NoTls)).max_size(2).build()?;
    let attempts = AtomicU32::new(0);
    let count = Policy::connection_failures().run_when(is_lost, || async {
        let client = pool.get().await?;
        if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
            client.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await?;
        }
        Ok(client.query_one("SELECT count(*) FROM pg_class", &[]).await?.get::<_, i64>(0))
    });
    println!("counted {} tables and indexes in {} attempts", count.await?, attempts.into_inner());
    Ok(())
}
