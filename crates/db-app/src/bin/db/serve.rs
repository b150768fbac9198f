//! `db serve`: from nothing to a healthy database behind HTTP, and back to nothing on SIGINT or SIGTERM.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use db_app::http::{ENDPOINTS, health_routes};
use db_app::{Config, Database};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::{Outcome, migrate};

pub(crate) async fn run(config: Config) -> Result<Outcome> {
    let mut signals = Signals::install()?;
    let limit = config.shutdown_timeout;
    // Dropping the start midway stops the server that it may have begun to start.
    let database = tokio::select! {
        opened = Database::open(config.clone()) => opened?,
        () = signals.next() => return Ok(Outcome::Well),
    };
    println!("using {}", database.origin());

    let served = serve(&database, &config, &mut signals).await;
    let closed = tokio::select! {
        closed = close(&database, limit) => closed,
        () = signals.next() => bail!("stopped at once, on a second signal"),
    };
    served.and(closed)?;
    tracing::info!(target: "db", "stopped");
    Ok(Outcome::Well)
}

/// Migrates, opens the port, and serves until a signal comes.
async fn serve(database: &Database, config: &Config, signals: &mut Signals) -> Result<()> {
    let listener = tokio::select! {
        prepared = prepare(database, config) => prepared?,
        () = signals.next() => return Ok(()),
    };
    let address = listener.local_addr()?;
    for endpoint in ENDPOINTS {
        println!("http://{address}{endpoint}");
    }

    let routes = health_routes(database, config.http_token.clone());
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let (stop, stopped) = oneshot::channel::<()>();
    let http = axum::serve(listener, service).with_graceful_shutdown(async {
        stopped.await.ok();
    });
    let mut http = tokio::spawn(http.into_future());
    tokio::select! {
        ended = &mut http => ended?.context("the HTTP server ended")?,
        () = signals.next() => {}
    }
    drop(stop);
    // Requests under way get a part of the time; the rest is the database's.
    if timeout_at(Instant::now() + config.shutdown_timeout.mul_f64(0.3), &mut http).await.is_err() {
        http.abort();
    }
    Ok(())
}

async fn prepare(database: &Database, config: &Config) -> Result<TcpListener> {
    match migrate::migrator(config)? {
        None => println!("no folder {}: nothing migrated", config.migrations_dir.display()),
        Some(migrator) => {
            let run = database.migrate(&migrator).await?;
            println!("migrations: {} applied now, {} in all", run.done.len(), migrator.migrations().len());
        }
    }
    let address = config.http_addr;
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (DB_HTTP_ADDR)"))
}

async fn close(database: &Database, limit: Duration) -> Result<()> {
    database.close(limit).await.context("not stopped in an orderly way")
}

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        tracing::info!(target: "db", signal = name, "stopping");
    }
}
