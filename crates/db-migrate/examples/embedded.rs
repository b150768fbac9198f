//! A program that carries its migrations: `DATABASE_URL=... cargo run -p db-migrate --example embedded`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use db_migrate::{Migrator, Steps};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let connection = tokio::spawn(connection);

    let migrator = Migrator::new(db_migrate::embed!("examples/migrations")?);
    for done in migrator.up(&client, Steps::All).await?.done {
        println!("applied {} in {:?}", done.file, done.duration);
    }
    migrator.down(&client, 2).await?;
    drop(client);
    connection.await??;
    Ok(())
}
