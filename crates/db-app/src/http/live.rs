//! What the dashboard shows: everything that is known at one moment, as a page needs it. Nothing here asks the database.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use db_cluster::EndpointStats;
use db_core::Status;
use db_health::{Alert, Component, ErrorCount, Recommendation, SlowStatement, WindowFigures};
use db_pool::Stats;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;

use super::audience::Insider;
use super::problem::Problem;
use super::state::Shared;
use crate::config::Environment;
use crate::migrations_watch::MigrationFigures;

/// A proxy or a browser takes a connection for dead that says nothing for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Live {
    at: Timestamp,
    uptime_s: u64,
    origin: String,
    version: String,
    environment: Environment,
    shutting_down: bool,
    status: Status,
    components: Vec<Part>,
    pools: Vec<Pool>,
    window: WindowFigures,
    errors: Vec<ErrorCount>,
    slow: Vec<SlowStatement>,
    servers: Vec<Server>,
    migrations: Option<MigrationFigures>,
    alerts: Vec<Alert>,
    recommendations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Part {
    name: String,
    part_of: Option<String>,
    status: Status,
    critical: bool,
    service: bool,
    reason: Option<&'static str>,
    message: Option<String>,
    latency_ms: f64,
    age_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Pool {
    name: String,
    total: u32,
    idle: u32,
    in_use: u32,
    waiting: u32,
    max: u32,
    min: u32,
    utilization: f64,
    paused: bool,
    opened: u64,
    closed: u32,
    /// Statements in flight on lanes.
    on_lanes: u32,
}

#[derive(Debug, Serialize)]
struct Server {
    name: String,
    state: &'static str,
    reason: Option<&'static str>,
    drained: bool,
    lag_bytes: Option<u64>,
    lag_ms: Option<f64>,
    in_flight: usize,
    latency_ms: Option<f64>,
    served: u64,
    timeline: Option<u32>,
    error: Option<String>,
}

/// Everything that is known, live: server-sent events named `live`, one each second; or once, as JSON, for who accepts that
#[utoipa::path(get, path = "/api/live", operation_id = "live_figures", tag = "dashboard", security((), ("token" = [])), responses(
    (status = 200, description = "events named `live`", content_type = "text/event-stream", body = String),
    (status = 401, description = "for insiders", body = Problem),
))]
pub(super) async fn live(_: Insider, State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/json") {
        return ([(header::CACHE_CONTROL, "no-store")], Json(Live::of(&shared))).into_response();
    }
    let events = shared.news().map(|news| Ok::<_, Infallible>(Event::default().event("live").data(&*news)));
    // A proxy that collects what it passes on would hold back the news.
    let unbuffered = [("x-accel-buffering", "no")];
    (unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

impl Live {
    pub(super) fn of(shared: &Shared) -> Self {
        let database = &shared.database;
        let (snapshot, window) = (database.health(), database.window());
        Self {
            at: snapshot.at,
            uptime_s: shared.started.elapsed().as_secs(),
            origin: database.origin().to_owned(),
            version: database.server().version.clone(),
            environment: database.environment(),
            shutting_down: database.going_down().is_cancelled(),
            status: snapshot.status(),
            components: snapshot.components.iter().map(Part::of).collect(),
            pools: database.pools().into_iter().map(Pool::of).collect(),
            window: window.figures(),
            errors: window.errors(),
            slow: window.slow(),
            servers: database.servers().into_iter().map(Server::of).collect(),
            migrations: database.migrations(),
            alerts: database.alerts(),
            recommendations: texts(database.recommendations()),
        }
    }
}

impl Part {
    fn of(component: &Component) -> Self {
        Self {
            name: component.name.clone(),
            part_of: component.parent.clone(),
            status: component.status,
            critical: component.is_critical,
            service: component.is_service,
            reason: component.reason,
            message: component.error.clone(),
            latency_ms: millis(component.latency),
            age_ms: component.age.map(millis),
        }
    }
}

impl Pool {
    fn of(stats: Stats) -> Self {
        Self {
            total: stats.total,
            idle: stats.idle,
            in_use: stats.in_use,
            waiting: stats.waiting,
            max: stats.max,
            min: stats.min,
            utilization: stats.utilization,
            paused: stats.is_paused,
            opened: stats.opened,
            closed: stats.closed.total(),
            on_lanes: stats.lanes.in_flight,
            name: stats.pool,
        }
    }
}

impl Server {
    fn of(stats: EndpointStats) -> Self {
        Self {
            state: stats.standing.word(),
            reason: stats.standing.reason(),
            drained: stats.is_drained,
            lag_bytes: stats.lag.map(|lag| lag.bytes),
            lag_ms: stats.lag.map(|lag| millis(lag.time)),
            in_flight: stats.in_flight,
            latency_ms: stats.latency.map(millis),
            served: stats.served,
            timeline: stats.timeline,
            error: stats.error,
            name: stats.name,
        }
    }
}

/// What to do, in words.
pub(super) fn texts(recommendations: Vec<Recommendation>) -> Vec<String> {
    recommendations.into_iter().map(|recommendation| recommendation.text).collect()
}

/// Milliseconds with a resolution of microseconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
