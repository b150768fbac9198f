//! Retries by our classification over somebody's own `bb8-postgres` pool: `cargo run -p db-retry --example own_bb8`. Takes the server
//! of `DATABASE_URL`; without it starts a PostgreSQL of this machine for the moment.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::Duration;

use bb8_postgres::PostgresConnectionManager as Manager;
use db_core::{Cause, Error, Phase, Query, Signal};
use db_retry::{Policy, Retry};
use db_testkit::{Backend, TestServer};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Backend::find(std::env::var("DATABASE_URL").ok(), "none", std::env::var_os("PATH"))
        .map_err(|error| format!("{error}; or name a server by DATABASE_URL"))?;
    let server = TestServer::start(&backend).await?;
    println!("on {}", server.origin());
    let manager = Manager::new_from_stringlike(server.url(), NoTls)?;
    let pool = &bb8::Pool::builder().max_size(2).build(manager).await?;

    let retry = Retry::new(Policy::default()).read().within(Duration::from_secs(10));
    let count = retry.run_attempts(|attempt| async move {
        println!("attempt {}, {:?}", attempt.number, attempt.action);
        let client = pool.get().await.map_err(|error| match error {
            bb8::RunError::User(error) => Error::from_driver(&error, Phase::Connect),
            bb8::RunError::TimedOut => Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), "timed out"),
        })?;
        if attempt.number == 1 {
            client.one::<bool>("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await?;
        }
        client.one::<i64>("SELECT count(*) FROM pg_class", &[]).await
    });
    println!("counted {} tables and indexes", count.await?);
    Ok(())
}
