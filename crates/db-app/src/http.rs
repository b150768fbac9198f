//! The health endpoints as a router that services nest. Everybody may learn a status; details are for insiders: those
//! who send the token, or connect from the machine itself without a proxy in between.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use db_core::{ExposeSecret, SecretString};
use db_health::view::{self, Audience};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::Database;

/// The endpoints, for what is served and for what is printed.
pub const ENDPOINTS: [&str; 4] = ["/health", "/health/live", "/health/ready", "/health/db"];

/// `/health`, `/health/live`, `/health/ready` and `/health/db`.
///
/// Serve with `into_make_service_with_connect_info::<SocketAddr>()` to give details to callers on the machine itself;
/// otherwise only the token opens them.
pub fn health_routes(database: &Database, token: Option<SecretString>) -> Router {
    let state = Health { database: database.clone(), token, started: Instant::now() };
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/db", get(db))
        .with_state(Arc::new(state))
}

/// What proxies add to a request. One that adds none of it must be kept away from `/health/db`.
const FORWARDING: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

struct Health {
    database: Database,
    token: Option<SecretString>,
    started: Instant,
}

async fn health(State(state): State<Arc<Health>>) -> Response {
    let snapshot = state.database.health();
    answer(snapshot.is_ready(), view::plain(&snapshot))
}

async fn live(State(state): State<Arc<Health>>) -> Response {
    // Touches nothing outside the process: a dead database must not have the service killed.
    let body = json!({ "status": "alive", "uptime_s": state.started.elapsed().as_secs() });
    answer(true, body)
}

async fn ready(State(state): State<Arc<Health>>) -> Response {
    let snapshot = state.database.health();
    answer(snapshot.is_ready(), view::ready(&snapshot))
}

async fn db(State(state): State<Arc<Health>>, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let audience = state.audience(peer, request.headers());
    let snapshot = state.database.health();
    answer(snapshot.is_ready(), view::terminus(&snapshot, audience))
}

fn answer(is_well: bool, body: Value) -> Response {
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl Health {
    fn audience(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Audience {
        // A proxy on the same machine makes everybody's connection a local one.
        let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
        let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) && !is_forwarded;
        if is_local || self.has_token(headers) { Audience::Insider } else { Audience::Stranger }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        match (&self.token, given) {
            (Some(token), Some(given)) => bool::from(token.expose_secret().as_bytes().ct_eq(given)),
            _ => false,
        }
    }
}
