//! `db stats`: the figures of the pool, and how each server is; once, or again and again. It opens a database of its own and
//! looks; what a running service has is in that service.

use std::time::Duration;

use anyhow::Result;
use db_app::{Config, Database, EndpointStats};
use db_pool::Stats;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::output::{self, say};
use crate::table::{Table, or_dash};
use crate::watch::{Look, Watch, watch};

/// What is printed.
#[derive(Debug, Serialize)]
struct Figures {
    timestamp: String,
    pool: Stats,
    servers: Vec<EndpointStats>,
}

/// How long servers may take to be known; the looks themselves are bounded.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn run(watching: Watch, mut config: Config, json: bool) -> Result<Outcome> {
    let limit = config.shutdown_timeout;
    // It looks from aside: nothing is to be kept ready. What is shown is what was configured.
    let min = std::mem::take(&mut config.pool.min);
    let database = Database::open(config).await?;
    eprintln!("using {}", database.origin());
    await_servers(&database).await;
    let look = || Figures::of(&database, min);
    let shown = match watching.every() {
        Some(every) => watch(every, json, look).await,
        None if json => output::json(&look()),
        None => {
            // One look needs no time.
            for line in look().lines().iter().skip(1) {
                say!("{line}");
            }
            Ok(())
        }
    };
    let closed = database.close(limit).await;
    shown?;
    closed?;
    Ok(Outcome::Well)
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

impl Figures {
    fn of(database: &Database, min: u32) -> Self {
        let mut pool = database.stats();
        pool.min = min;
        Self { timestamp: format!("{:.3}", database.health().at), pool, servers: database.servers() }
    }
}

impl Look for Figures {
    fn document(&self) -> Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    fn lines(&self) -> Vec<String> {
        let Self { timestamp, pool, servers } = self;
        let mut lines = vec![timestamp.clone()];
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
        lines.extend(table.lines());
        if servers.is_empty() {
            return lines;
        }
        lines.push(String::new());
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
        lines.extend(table.lines());
        let errors = servers.iter().filter_map(|server| Some((&server.name, server.error.as_ref()?)));
        lines.extend(errors.map(|(name, error)| format!("{name}: {error}")));
        lines
    }
}
