//! Migrations over somebody's own `deadpool-postgres` pool: `DATABASE_URL=... cargo run -p db-migrate --example deadpool`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use db_migrate::{Migration, Migrations, Migrator, Steps};
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(4).build()?;

    let greetings = Migration::new(
        "001_greetings",
        "CREATE TABLE greetings (id bigint PRIMARY KEY, text text NOT NULL)",
        Some("DROP TABLE greetings"),
    )?;
    let migrator = Migrator::new(Migrations::new([greetings])?);
    // Any client of the pool will do; it goes back as it came.
    let client = pool.get().await?;
    for done in migrator.up(&client, Steps::All).await?.done {
        println!("applied {} in {:?}", done.file, done.duration);
    }
    migrator.down(&client, 1).await?;
    Ok(())
}
