//! A COMMIT whose acknowledgement is lost, over nothing but `tokio_postgres`:
//! `DATABASE_URL=... cargo run -p db-testkit --example fault_proxy`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use db_testkit::{Fault, Proxy};
use tokio_postgres::{Client, NoTls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let aside = connect(&url).await?;
    aside.batch_execute("CREATE TABLE IF NOT EXISTS payments (id int)").await?;
    let before = payments(&aside).await?;

    let proxy = Proxy::to_url(&url).await?;
    let mut client = connect(&proxy.url()).await?;
    let lost = proxy.inject(Fault::lost_acknowledgement().nth(1));

    let tx = client.transaction().await?;
    tx.execute("INSERT INTO payments VALUES (1)", &[]).await?;
    let error = tx.commit().await.expect_err("its acknowledgement is lost");
    // It could as well be a COMMIT that never arrived. Trying again now would pay twice.
    println!("what the client sees: {error}");

    assert_eq!(lost.fired(), 1);
    assert_eq!(payments(&aside).await? - before, 1);
    println!("and the row is there; {:?}", proxy.counts());

    // A COMMIT that never arrived looks the same.
    let mut client = connect(&proxy.url()).await?;
    let lost = proxy.inject(Fault::lost_commit().nth(1));
    let tx = client.transaction().await?;
    tx.execute("INSERT INTO payments VALUES (2)", &[]).await?;
    let error = tx.commit().await.expect_err("it is lost");
    println!("what the client sees: {error}");
    assert_eq!(lost.fired(), 1);
    assert_eq!(payments(&aside).await? - before, 1);
    println!("and the row is not there");
    Ok(())
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn payments(client: &Client) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one("SELECT count(*) FROM payments", &[]).await?.get(0))
}
