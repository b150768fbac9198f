//! What a cluster of servers tells observers, and how the log says it. Which server is good for what is not decided here.

use super::constructors;
use crate::Error;

/// A server is good for something else than before.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EndpointChanged<'a> {
    /// Name of the server.
    pub endpoint: &'a str,
    /// What it was: `unknown`, `primary`, `replica` or `out`.
    pub from: &'a str,
    /// What it is, in the same words.
    pub to: &'a str,
    /// Why it takes nothing, if it does not: `unreachable`, `lag`, `old_timeline` and the like.
    pub reason: Option<&'a str>,
}

/// A read failed on one server and goes on to another.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadMoved<'a> {
    /// Where it failed.
    pub endpoint: &'a str,
    /// Why; none when it was given up since the server went out of use meanwhile.
    pub error: Option<&'a Error>,
}

constructors! {
    EndpointChanged { endpoint: &'a str, from: &'a str, to: &'a str, reason: Option<&'a str> }
    ReadMoved { endpoint: &'a str, error: Option<&'a Error> }
}

pub(super) fn log_endpoint_changed(event: &EndpointChanged<'_>) {
    let EndpointChanged { endpoint, from, to, reason } = *event;
    match reason {
        Some(reason) => {
            tracing::warn!(target: "db::cluster", endpoint, from, to, reason, "endpoint out of use")
        }
        None => tracing::info!(target: "db::cluster", endpoint, from, to, "endpoint in use"),
    }
}

pub(super) fn log_read_moved(event: &ReadMoved<'_>) {
    tracing::info!(target: "db::cluster", endpoint = event.endpoint,
        error = event.error.map(tracing::field::display), "a read goes on elsewhere");
}
