//! The health endpoints. They read what the monitor saw last: none of them waits for the database.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use db_health::view::{self, Audience, HEALTH_JSON};
use serde_json::{Value, json};

use super::audience::Anybody;
use super::live::texts;
use super::state::Shared;

/// Overall status, time, and `connected` or `disconnected` for each service
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, description = "healthy or degraded", body = Value, content_type = "application/json"),
    (status = 503, description = "unhealthy"),
))]
pub(super) async fn health(
    State(shared): State<Arc<Shared>>,
    Anybody(audience): Anybody,
    headers: HeaderMap,
) -> Response {
    let snapshot = shared.database.health();
    let asked = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if asked.is_some_and(|accept| accept.contains(HEALTH_JSON)) {
        let content_type = [(header::CONTENT_TYPE, HEALTH_JSON)];
        return (content_type, answer(snapshot.is_ready(), view::health_json(&snapshot, audience, None)))
            .into_response();
    }
    answer(snapshot.is_ready(), view::plain(&snapshot))
}

/// 200 while the process lives, whatever the database does
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, description = "alive", body = Value)))]
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Response {
    // Touches nothing outside the process: a dead database must not have the service killed.
    answer(true, json!({ "status": "alive", "uptime_s": shared.started.elapsed().as_secs() }))
}

/// 503 when the service should get no requests, with fixed words for what is not well
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "ready, perhaps degraded", body = Value),
    (status = 503, description = "not ready, or shutting down"),
))]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.database.health();
    answer(snapshot.is_ready(), view::ready(&snapshot))
}

/// 503 until everything critical was well once
#[utoipa::path(get, path = "/health/startup", tag = "health", responses(
    (status = 200, description = "started", body = Value), (status = 503, description = "still starting"),
))]
pub(super) async fn startup(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.database.health();
    answer(snapshot.is_started(), view::startup(&snapshot))
}

/// Every component; figures and error texts for insiders
#[utoipa::path(get, path = "/health/db", tag = "health", security((), ("token" = [])), responses(
    (status = 200, description = "healthy or degraded", body = Value), (status = 503, description = "unhealthy"),
))]
pub(super) async fn db(State(shared): State<Arc<Shared>>, Anybody(audience): Anybody) -> Response {
    let snapshot = shared.database.health();
    let mut body = view::terminus(&snapshot, audience);
    let recommendations = match audience {
        Audience::Insider => texts(shared.database.recommendations()),
        _ => Vec::new(),
    };
    let summary = view::summary(&snapshot, audience, &recommendations);
    (body["checks"], body["recommendations"]) =
        (summary["checks"].clone(), summary["recommendations"].clone());
    answer(snapshot.is_ready(), body)
}

fn answer(is_well: bool, body: Value) -> Response {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
