//! What an operator may do by HTTP: all by POST, with the token, and each written to the log (`db::audit`) with its outcome.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use super::audience::Operator;
use super::body::{Body, NotOurs};
use super::problem::Problem;
use super::state::Shared;

/// How long a pause waits for connections to come back, unless the call says otherwise.
const PAUSE: u64 = 5_000;

/// How long to wait for connections to come back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// In milliseconds.
    #[serde(default = "default_pause")]
    #[schema(default = 5000)]
    limit_ms: u64,
}

/// A size for the pool for writes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resize {
    /// The most connections.
    max: u32,
}

/// A server of the cluster.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Its name, as `/api/metrics/db` has it.
    server: String,
}

/// A session on the server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    /// The process id of its backend.
    pid: i32,
}

/// What each of these may answer, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
enum Usual {
    /// Done: what was asked, with a note
    #[response(status = 200)]
    Done(Value),
    /// Only for operators
    #[response(status = 401)]
    Refused(Problem),
}

/// Replaces every connection of the pool, without an error to anybody
#[utoipa::path(post, path = "/api/admin/rotate", tag = "admin", security(("token" = [])), responses(Usual))]
pub(super) async fn rotate(operator: Operator, State(shared): State<Arc<Shared>>) -> Response {
    shared.database.rotate();
    done(&operator, "rotate", json!({}), "connections are replaced as they come back")
}

/// Admits nobody to the pool and waits until every connection has come back; 409 when some have not
#[utoipa::path(post, path = "/api/admin/pause", tag = "admin", request_body = Pause, security(("token" = [])),
    responses(Usual, NotOurs, (status = 409, description = "connections are still in use", body = Problem)))]
pub(super) async fn pause(
    operator: Operator,
    State(shared): State<Arc<Shared>>,
    Body(Pause { limit_ms }): Body<Pause>,
) -> Response {
    let about = json!({ "limit_ms": limit_ms });
    begun(&operator, "pause", &about);
    match shared.database.pause(Duration::from_millis(limit_ms)).await {
        Ok(()) => done(&operator, "pause", about, "nobody is admitted until `resume`"),
        Err(error) => {
            let message = format!("{error}; nobody is admitted until `resume` all the same");
            failed(&operator, "pause", &about, Problem::new(StatusCode::CONFLICT, "still_in_use", message))
        }
    }
}

/// Admits callers to the pool again
#[utoipa::path(post, path = "/api/admin/resume", tag = "admin", security(("token" = [])), responses(Usual))]
pub(super) async fn resume(operator: Operator, State(shared): State<Arc<Shared>>) -> Response {
    shared.database.resume();
    done(&operator, "resume", json!({}), "callers are admitted")
}

/// Changes the most connections of the pool, and says what is in force
#[utoipa::path(post, path = "/api/admin/resize", tag = "admin", request_body = Resize, security(("token" = [])),
    responses(Usual, NotOurs))]
pub(super) async fn resize(
    operator: Operator,
    State(shared): State<Arc<Shared>>,
    Body(Resize { max }): Body<Resize>,
) -> Response {
    if max == 0 {
        return failed(
            &operator,
            "resize",
            &json!({ "max": max }),
            Problem::bad_request("max: expected at least 1"),
        );
    }
    let max = shared.database.resize(max);
    done(&operator, "resize", json!({ "max": max }), "the size is in force")
}

/// Gives a server no further reads, without an error to anybody
#[utoipa::path(post, path = "/api/admin/drain", tag = "admin", request_body = Server, security(("token" = [])),
    responses(Usual, NotOurs, (status = 404, description = "there is no such server", body = Problem)))]
pub(super) async fn drain(
    operator: Operator,
    State(shared): State<Arc<Shared>>,
    Body(Server { server }): Body<Server>,
) -> Response {
    let drained = shared.database.drain(&server);
    about_server(&operator, "drain", &server, drained, "it gets no further reads")
}

/// Gives a server reads again
#[utoipa::path(post, path = "/api/admin/restore", tag = "admin", request_body = Server, security(("token" = [])),
    responses(Usual, NotOurs, (status = 404, description = "there is no such server", body = Problem)))]
pub(super) async fn restore(
    operator: Operator,
    State(shared): State<Arc<Shared>>,
    Body(Server { server }): Body<Server>,
) -> Response {
    let restored = shared.database.restore(&server);
    about_server(&operator, "restore", &server, restored, "it gets reads again")
}

/// Cancels what a session runs, on the primary
#[utoipa::path(post, path = "/api/admin/cancel", tag = "admin", request_body = Session, security(("token" = [])),
    responses(Usual, NotOurs, (status = 404, description = "there is no such session", body = Problem),
    (status = 503, description = "the database said no", body = Problem)))]
pub(super) async fn cancel(
    operator: Operator,
    State(shared): State<Arc<Shared>>,
    Body(Session { pid }): Body<Session>,
) -> Response {
    let about = json!({ "pid": pid });
    begun(&operator, "cancel", &about);
    match shared.database.cancel(pid).await {
        Ok(true) => done(&operator, "cancel", about, "what it ran is being cancelled"),
        Ok(false) => {
            let message = format!("there is no session with process id {pid}");
            failed(&operator, "cancel", &about, Problem::new(StatusCode::NOT_FOUND, "no_session", message))
        }
        Err(error) => failed(&operator, "cancel", &about, Problem::database(&error)),
    }
}

fn about_server<E: std::fmt::Display>(
    operator: &Operator,
    action: &'static str,
    server: &str,
    result: Result<(), E>,
    note: &str,
) -> Response {
    let about = json!({ "server": server });
    match result {
        Ok(()) => done(operator, action, about, note),
        Err(error) => {
            let problem = Problem::new(StatusCode::NOT_FOUND, "no_server", error.to_string());
            failed(operator, action, &about, problem)
        }
    }
}

/// Before what takes time: a caller who goes away takes the end with him.
fn begun(operator: &Operator, action: &'static str, about: &Value) {
    let peer = operator.peer.map(tracing::field::display);
    tracing::info!(target: "db::audit", peer, action, %about, "begun");
}

fn done(operator: &Operator, action: &'static str, mut about: Value, note: &str) -> Response {
    let peer = operator.peer.map(tracing::field::display);
    tracing::info!(target: "db::audit", peer, action, %about, "done");
    about["action"] = action.into();
    about["note"] = note.into();
    ([(header::CACHE_CONTROL, "no-store")], Json(about)).into_response()
}

fn failed(operator: &Operator, action: &'static str, about: &Value, problem: Problem) -> Response {
    let peer = operator.peer.map(tracing::field::display);
    tracing::warn!(target: "db::audit", peer, action, %about, error = problem.message(), "not done");
    problem.into_response()
}

fn default_pause() -> u64 {
    PAUSE
}
