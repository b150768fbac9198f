//! `db stats`: the figures of the pool, and how each server is. It opens a database of its own and looks; what a running service
//! has is in that service.

use std::time::Duration;

use anyhow::Result;
use db_app::{Config, Database, EndpointStats};
use db_pool::Stats;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::output::{self, say};
use crate::table::{Table, or_dash};

/// What is printed.
#[derive(Debug, Serialize)]
struct Figures {
    pool: Stats,
    servers: Vec<EndpointStats>,
}

/// How long servers may take to be known; the looks themselves are bounded.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn run(mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks once: nothing is to be kept ready. What is shown is what was configured.
    let min = std::mem::take(&mut config.pool.min);
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    let servers = servers(&database).await;
    let mut pool = database.stats();
    pool.min = min;

    let figures = Figures { pool, servers };
    if json {
        output::json(&figures)?;
    } else {
        figures.print();
    }
    database.close(limit).await?;
    Ok(Outcome::Well)
}

/// All servers, once it is known how far each replica is behind the primary, if there is one.
async fn servers(database: &Database) -> Vec<EndpointStats> {
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
            return servers;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

impl Figures {
    fn print(&self) {
        let Self { pool, servers } = self;
        let heads = [
            "pool",
            "open",
            "idle",
            "in use",
            "waiting",
            "min",
            "max",
            "used (%)",
            "opened",
            "closed",
            "wait p50 (ms)",
            "wait p99 (ms)",
        ];
        let mut table = Table::new(1, &heads);
        let millis = |micros: u64| format!("{:.3}", Duration::from_micros(micros).as_secs_f64() * 1e3);
        table.row([
            pool.pool.clone(),
            pool.total.to_string(),
            pool.idle.to_string(),
            pool.in_use.to_string(),
            pool.waiting.to_string(),
            pool.min.to_string(),
            pool.max.to_string(),
            format!("{:.1}", pool.utilization),
            pool.opened.to_string(),
            pool.closed.total().to_string(),
            millis(pool.waited.p50_us),
            millis(pool.waited.p99_us),
        ]);
        table.print();
        if servers.is_empty() {
            return;
        }
        say!("");
        let heads =
            ["server", "state", "lag (bytes)", "lag (s)", "in flight", "latency (ms)", "served", "timeline"];
        let mut table = Table::new(2, &heads);
        for server in servers {
            let lag = server.lag;
            table.row([
                server.name.clone(),
                server.standing.to_string(),
                or_dash(lag.map(|lag| lag.bytes)),
                or_dash(lag.map(|lag| format!("{:.3}", lag.time.as_secs_f64()))),
                server.in_flight.to_string(),
                or_dash(server.latency.map(|latency| format!("{:.3}", latency.as_secs_f64() * 1e3))),
                server.served.to_string(),
                or_dash(server.timeline),
            ]);
        }
        table.print();
        for EndpointStats { name, error, .. } in servers {
            if let Some(error) = error {
                say!("{name}: {error}");
            }
        }
    }
}
