//! The pool alone, without the rest of the layer: `DATABASE_URL=... cargo run -p db-pool --example a_la_carte`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::Duration;

use db_core::prelude::*;
use db_pool::{Pool, Settings, Target};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target: Target = std::env::var("DATABASE_URL")?.parse()?;
    let pool = Pool::open(target, Settings::default()).await?;
    pool.batch_execute("CREATE TABLE IF NOT EXISTS visits (name text PRIMARY KEY, count int8 NOT NULL)")
        .await?;

    // Both or neither.
    let visits: i64 = pool
        .tx(async |tx| {
            tx.execute("INSERT INTO visits VALUES ($1, 0) ON CONFLICT DO NOTHING", &[&"ann"]).await?;
            tx.one("UPDATE visits SET count = count + 1 WHERE name = $1 RETURNING count", &[&"ann"]).await
        })
        .await?;
    let all: Vec<(String, i64)> =
        pool.query("SELECT name, count FROM visits WHERE count >= $1", &[&visits]).await?;
    println!("{all:?}");

    println!("{}", serde_json::to_string(&pool.stats())?);
    pool.close(Duration::from_secs(5)).await?;
    Ok(())
}
