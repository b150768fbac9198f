//! Routing over somebody's own `deadpool-postgres` pools: `cargo run -p db-cluster --example own_deadpool`. Takes the servers of
//! `DATABASE_URL` and `DATABASE_REPLICA_URL`; without any it starts a primary and a replica of this machine for the moment.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use db_cluster::{Cluster, Preference};
use db_core::{Acquire, Cause, Error, Executor, Params, Phase, Query as _, Result, Row, RowStream, Signal};
use db_testkit::{Backend, TestCluster};
use deadpool_postgres::{Manager, Object, Pool, PoolError, Runtime, Timeouts};
use tokio_postgres::{Client, NoTls};

/// All that a pool needs to be routed to.
struct Own(Pool);

struct OwnConn(Object);

impl Acquire for Own {
    type Conn = OwnConn;

    async fn acquire(&self, deadline: Option<Instant>) -> Result<OwnConn> {
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = limit.unwrap_or(Duration::from_secs(5));
        let timeouts = Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) };
        let acquired = self.0.timeout_get(&timeouts).await;
        acquired.map(OwnConn).map_err(|error| match error {
            PoolError::Backend(error) => Error::from_driver(&error, Phase::Connect),
            other => Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), other.to_string()),
        })
    }
}

impl OwnConn {
    fn client(&self) -> &Client {
        &self.0
    }
}

#[async_trait]
impl Executor for OwnConn {
    async fn fetch(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        self.client().fetch(sql, params).await
    }

    async fn fetch_stream<'a>(&'a self, sql: &str, params: Params<'_>) -> Result<RowStream<'a>> {
        self.client().fetch_stream(sql, params).await
    }

    async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        Executor::execute(self.client(), sql, params).await
    }

    async fn batch(&self, sql: &str) -> Result<()> {
        self.client().batch(sql).await
    }
}

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
        builder = builder.endpoint(format!("server-{index}"), Own(pool));
    }
    let cluster = builder.start().await?;

    let primary = cluster.primary().await?;
    println!("writes go to {}", primary.endpoint());
    primary.batch("DROP TABLE IF EXISTS routed; CREATE TABLE routed (id int)").await?;
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
    cluster.primary().await?.batch("DROP TABLE routed").await?;
    drop(own);
    Ok(())
}
