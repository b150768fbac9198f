//! Fresh databases, and connections to them. The settings of the server stay as they are: how often a tool commits is
//! part of what it costs.

use anyhow::{Context, Result};
use tokio_postgres::{Client, Config, NoTls};

/// The server that everybody is measured on.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    config: Config,
    client: Client,
    version: String,
}

/// A database that did not exist before.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    server: &'a Server,
    name: String,
}

impl Server {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let config: Config = url.parse().context("the URL")?;
        let client = connect(&config).await?;
        let version = client.query_one("SHOW server_version", &[]).await?.get(0);
        Ok(Self { url: url.to_owned(), config, client, version })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Creates a database. The checkpoint keeps what came before from being written out during the measurement.
    pub(crate) async fn fresh(&self, name: &str) -> Result<Fresh<'_>> {
        let name = format!("bench_{name}");
        self.drop_database(&name).await?;
        self.client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await?;
        self.client.batch_execute("CHECKPOINT").await?;
        Ok(Fresh { server: self, name })
    }

    /// A connection to any database of the server.
    pub(crate) async fn connect_to(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        connect(self.config.clone().dbname(database)).await
    }

    async fn drop_database(&self, name: &str) -> Result<()> {
        let sql = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
        self.client.batch_execute(&sql).await.with_context(|| format!("cannot drop {name}"))
    }
}

impl Fresh<'_> {
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(self.server.connect_to(&self.name).await?)
    }

    pub(crate) fn sqlx_options(&self) -> Result<sqlx::postgres::PgConnectOptions> {
        let options: sqlx::postgres::PgConnectOptions = self.server.url.parse()?;
        Ok(options.database(&self.name))
    }

    pub(crate) async fn remove(self) -> Result<()> {
        self.server.drop_database(&self.name).await
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // Its error reaches the client's caller as well.
    tokio::spawn(async { connection.await.ok() });
    Ok(client)
}
