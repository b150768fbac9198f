//! Routing over somebody's own `deadpool-postgres` pools: `cargo run -p db-cluster --example own_deadpool`. Takes the servers of
//! `DATABASE_URL` and `DATABASE_REPLICA_URL`; without any it starts a primary and a replica of this machine for the moment.

#![expect(clippy::print_stdout, reason = "an example prints")]

/// The adapter that makes such a pool one to route to; copy it along.
mod support;

use db_cluster::{Cluster, Preference};
use db_core::{Executor as _, Query as _};
use db_testkit::{Backend, TestCluster};
use deadpool_postgres::{Manager, Pool, Runtime};
use tokio_postgres::NoTls;

use support::Own;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = ["DATABASE_URL", "DATABASE_REPLICA_URL"].map(|name| std::env::var(name).ok());
    let mut urls: Vec<String> = given.into_iter().flatten().collect();
    // Ends when it is dropped.
    let mut own = None;
    if urls.is_empty() {
        let backend = Backend::local(std::env::var_os("PATH"));
        let servers = TestCluster::start(&backend, 1).await?;
        urls = servers.nodes().iter().map(|node| node.url().to_owned()).collect();
        own = Some(servers);
    }
    let mut builder = Cluster::builder();
    for (index, url) in urls.iter().enumerate() {
        let manager = Manager::new(url.parse()?, NoTls);
        let pool = Pool::builder(manager).max_size(4).runtime(Runtime::Tokio1).build()?;
        builder = builder.endpoint(format!("server-{index}"), Own::new(pool));
    }
    let cluster = builder.start().await?;

    let primary = cluster.primary().await?;
    println!("writes go to {}", primary.endpoint());
    primary.batch_execute("DROP TABLE IF EXISTS routed; CREATE TABLE routed (id int)").await?;
    primary.execute("INSERT INTO routed VALUES ($1)", &[&1]).await?;
    let token = primary.token().await?;
    drop(primary);

    // The token goes to a browser and comes back as text, to whichever process takes the next request.
    let token = token.to_string().parse()?;
    let rows: i64 = cluster.read().after(token).one("SELECT count(*) FROM routed", &[]).await?;
    assert_eq!(rows, 1, "what was written is read, wherever that was");
    let preference = Preference::PreferReplica;
    let is_replica: bool =
        cluster.read().preference(preference).one("SELECT pg_is_in_recovery()", &[]).await?;
    println!("reads go to a {}", if is_replica { "replica" } else { "primary" });
    for endpoint in cluster.stats() {
        println!("{}: {}, {} served", endpoint.name, endpoint.standing, endpoint.served);
    }
    cluster.primary().await?.batch_execute("DROP TABLE routed").await?;
    drop(own);
    Ok(())
}
