//! `db stats`: the figures of the pool, how each server is, and what runs on lanes; once, or again and again. Either of a database
//! that it opens itself, or of a service that runs, which is in `service`. What it prints for people is in `tables`.

mod service;
mod tables;

use std::time::Duration;

use anyhow::Result;
use db_app::{Config, Database, EndpointStats};
use db_pool::Stats;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::service::Service;
use self::tables::Figures;
use crate::Outcome;
use crate::output::{self, say};
use crate::watch::{Look, Watch, watch};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Ask a service that runs for its figures, at this URL, or at DB_HTTP_ADDR; with DB_HTTP_TOKEN if that is set
    ///
    /// URL is where its endpoints are, such as `http://127.0.0.1:8080`, or `https://example.org/ops` if they are nested below a path. The
    /// figures are those of its /api/metrics/db. No database is opened. With http everybody on the way can read the token.
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "not asked for, without a URL, with one")]
    service: Option<Option<String>>,
    #[command(flatten)]
    watching: Watch,
}

/// What is known without a service.
#[derive(Debug, Serialize)]
struct Own {
    timestamp: String,
    pool: Stats,
    servers: Vec<EndpointStats>,
}

/// How long servers may take to be known; the looks themselves are bounded.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn run(options: Options, config: Config, json: bool) -> Result<Outcome> {
    let Options { service, watching } = options;
    let Some(url) = service else { return of_own(watching, config, json).await };
    match Service::new(url.as_deref(), &config) {
        Ok(service) => of_service(watching, &service?, json).await,
        Err(misuse) => {
            output::refuse(&[misuse.to_string()], json);
            Ok(Outcome::Refused)
        }
    }
}

async fn of_service(watching: Watch, service: &Service, json: bool) -> Result<Outcome> {
    // What is wrong from the beginning will not mend itself; a service that goes away later may come back.
    let first = service.ask().await?;
    match watching.every() {
        Some(every) => watch(every, json, async || service.look().await).await?,
        None => print(&first, json)?,
    }
    Ok(Outcome::Well)
}

async fn of_own(watching: Watch, mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks from aside: nothing is to be kept ready. What is shown is what was configured.
    let min = std::mem::take(&mut config.pool.min);
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    await_servers(&database).await;
    let look = || Own::of(&database, min);
    let shown = match watching.every() {
        Some(every) => watch(every, json, async || look()).await,
        None => print(&look(), json),
    };
    let closed = database.close(limit).await;
    shown?;
    closed?;
    Ok(Outcome::Well)
}

fn print(look: &impl Look, json: bool) -> Result<()> {
    if json {
        return output::json(&look.document()?);
    }
    // One look needs no time.
    for line in look.lines().iter().skip(1) {
        say!("{line}");
    }
    Ok(())
}

/// Waits until it is known how far each replica is behind the primary, if there is one.
async fn await_servers(database: &Database) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let servers = database.servers();
        let has_primary = servers.iter().any(|server| server.standing.word() == "primary");
        let is_open = |server: &EndpointStats| match server.standing.word() {
            "unknown" => true,
            "replica" => has_primary && server.lag.is_none(),
            _ => false,
        };
        if !servers.iter().any(is_open) || Instant::now() >= give_up {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

impl Own {
    fn of(database: &Database, min: u32) -> Self {
        let mut pool = database.stats();
        pool.min = min;
        Self { timestamp: format!("{:.3}", database.health().at), pool, servers: database.servers() }
    }
}

impl Look for Own {
    fn document(&self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn lines(&self) -> Vec<String> {
        match self.document().and_then(|document| Ok(Figures::deserialize(document)?)) {
            Ok(figures) => figures.lines(),
            Err(error) => vec![self.timestamp.clone(), format!("error: {error:#}")],
        }
    }
}
