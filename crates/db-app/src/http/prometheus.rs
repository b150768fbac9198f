//! Metrics for Prometheus, for insiders.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};

use super::audience::Insider;
use super::problem::Problem;
use super::state::Shared;

/// Metrics in the text format of Prometheus
#[utoipa::path(get, path = "/metrics", tag = "figures", security((), ("token" = [])), responses(
    (status = 200, description = "all metrics", body = String, content_type = "text/plain; version=0.0.4"),
    (status = 401, description = "for insiders", body = Problem),
    (status = 404, description = "the service exports no metrics here", body = Problem),
))]
pub(super) async fn metrics(_: Insider, State(shared): State<Arc<Shared>>) -> Response {
    let Some(registry) = &shared.registry else {
        let message = "the service exports no metrics here: it gave no registry";
        return Problem::new(StatusCode::NOT_FOUND, "not_found", message).into_response();
    };
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => {
            let headers =
                [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT), (header::CACHE_CONTROL, "no-store")];
            (headers, text).into_response()
        }
        Err(error) => {
            let message = error.to_string();
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", message).into_response()
        }
    }
}
