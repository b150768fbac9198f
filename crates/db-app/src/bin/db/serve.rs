//! `db serve`: from nothing to a healthy database behind HTTP, and back to nothing when it is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use db_app::core::Finding;
use db_app::health::{Aspect, Check, FnProbe};
use db_app::http::{self, ENDPOINTS, Routes};
use db_app::telemetry::Telemetry;
use db_app::{Builder, Config, Database};
use db_migrate::Migrator;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::migrate::{Printer, migrator};
use crate::output::say;
use crate::signals::{Signals, at_once};
use crate::{Outcome, files};

pub(crate) async fn run(config: Config, telemetry: Option<&Telemetry>) -> Result<Outcome> {
    let mut signals = Signals::install()?;
    files::allow_many();
    let limit = config.shutdown_timeout;
    // Before anything is started: files that are not in order need no server to be refused.
    let migrator = migrator(&config)?;
    let prepared = Arc::new(AtomicBool::new(false));
    let mut builder = Database::builder(config.clone()).check(preparation(&prepared, &config));
    if let Some(telemetry) = telemetry {
        builder = builder.meter(telemetry.meter());
    }
    if let Some(migrator) = &migrator {
        builder = builder.migrations(migrator.clone());
    }
    let Some(database) = open(builder, limit, &mut signals).await? else {
        return Ok(Outcome::Well);
    };
    say!("using {}", database.origin());

    let mut routes = Routes::new(&database).token(config.http_token.clone());
    if let Some(telemetry) = telemetry {
        routes = routes.registry(telemetry.registry());
    }
    let migrator = migrator.map(|migrator| migrator.progress(Arc::new(Printer::new(true))));
    let migrating = async {
        migrate(&database, &config, migrator).await?;
        prepared.store(true, Ordering::Release);
        database.look_now().await;
        Ok(())
    };
    let served = serve(&database, &config, routes, migrating, &mut signals).await;
    // From the signal on; a server that fails by itself gets the whole time for its end.
    let deadline = signals.first().map_or_else(|| Instant::now() + limit, |at| at + limit);
    let closed = tokio::select! {
        closed = close(&database, deadline) => closed,
        _ = signals.next() => at_once(1),
    };
    served.and(closed)?;
    tracing::info!(target: "db", "stopped");
    Ok(Outcome::Well)
}

/// Opens the database; `None` when a signal came meanwhile. A start that is under way is let finish, so that what it
/// started can be stopped in an orderly way and nothing is left at the end.
async fn open(builder: Builder, limit: Duration, signals: &mut Signals) -> Result<Option<Database>> {
    let mut opening = std::pin::pin!(builder.open());
    tokio::select! {
        opened = &mut opening => return Ok(Some(opened?)),
        _ = signals.next() => {}
    }
    let deadline = Instant::now() + limit;
    let undo = async {
        match timeout_at(deadline, opening).await {
            Ok(Ok(database)) => close(&database, deadline).await,
            // Without a database there is nothing to close; one that takes too long is dropped.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    };
    tokio::select! {
        undone = undo => undone.map(|()| None),
        _ = signals.next() => at_once(1),
    }
}

/// The check that keeps the service from being ready until its schema is there.
fn preparation(prepared: &Arc<AtomicBool>, config: &Config) -> Check {
    let prepared = Arc::clone(prepared);
    let probe = FnProbe::new("preparation", move || match prepared.load(Ordering::Acquire) {
        true => Finding::healthy(),
        false => Finding::unhealthy("migrating"),
    });
    Check::new(probe)
        .internal()
        .aspect(Aspect::SchemaIntegrity)
        .recover_after(1)
        .interval(config.health_interval)
}

/// Opens the port, migrates, and serves until a signal comes. Who asks meanwhile is told that it starts: a migration may take
/// longer than whoever watches would wait for a port.
async fn serve(
    database: &Database,
    config: &Config,
    routes: Routes,
    migrating: impl Future<Output = Result<()>>,
    signals: &mut Signals,
) -> Result<()> {
    let address = config.http_addr;
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address} (DB_HTTP_ADDR)"))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = http::serve(listener, routes.service(), async {
        stopped.await.ok();
    });
    let mut http = AbortOnDropHandle::new(tokio::spawn(service));
    let goes_on = tokio::select! {
        migrated = migrating => migrated.map(|()| true)?,
        _ = signals.next() => false,
    };
    if goes_on {
        for endpoint in ENDPOINTS {
            say!("http://{address}{endpoint}");
        }
        tokio::select! {
            ended = &mut http => ended?.context("the HTTP server ended")?,
            _ = signals.next() => {}
        }
    }
    // Whoever sends requests here must see first that it is not ready.
    database.shut_down();
    tokio::select! {
        () = sleep(config.shutdown_delay) => {}
        _ = signals.next() => at_once(1),
    }
    drop(stop);
    // Requests under way get a part of the time; the rest is the database's.
    let part = Instant::now() + config.shutdown_timeout.mul_f64(0.3);
    tokio::select! {
        ended = timeout_at(part, &mut http) => if ended.is_err() { http.abort() },
        _ = signals.next() => at_once(1),
    }
    Ok(())
}

async fn migrate(database: &Database, config: &Config, migrator: Option<Migrator>) -> Result<()> {
    let Some(migrator) = migrator else {
        say!("no folder {}: nothing migrated", config.migrations.dir.display());
        return Ok(());
    };
    let run = database.migrate(&migrator).await?;
    say!("migrations: {} applied now, {} in all", run.done.len(), migrator.migrations().len());
    Ok(())
}

async fn close(database: &Database, deadline: Instant) -> Result<()> {
    let limit = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    database.close(limit).await.context("not stopped in an orderly way (DB_SHUTDOWN_TIMEOUT_MS)")
}
