//! What went wrong with a request, in the one shape that all errors have. Errors of the database are not made here.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// An error as JSON: `{"error": {"code", "message", "timestamp"}}`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    error: Fields,
    #[serde(skip)]
    status: u16,
}

#[derive(Debug, Serialize, ToSchema)]
struct Fields {
    /// A fixed word, or the SQLSTATE.
    #[schema(example = "not_found")]
    code: String,
    /// What is wrong, for people; never a secret or a value.
    message: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Fields { code: code.into(), message: message.into(), timestamp: Timestamp::now() };
        Self { error, status: status.as_u16() }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn message(&self) -> &str {
        &self.error.message
    }

    /// Of the database, for those who may see it.
    pub(super) fn database(error: &db_core::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// For a path that there is not.
pub(super) async fn not_found(request: Request) -> Problem {
    let message = format!("there is no {}; /openapi.json lists what there is", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", message)
}

/// For a method that a path does not know; which it knows is in the header `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> Problem {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
