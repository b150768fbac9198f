//! Figures as JSON, for insiders: of the process, of the pools, of the last minute. For Prometheus see `prometheus`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::audience::Insider;
use super::problem::Problem;
use super::state::Shared;

/// Pools with their utilization, memory, process id and uptime
#[utoipa::path(get, path = "/health/metrics", tag = "figures", security((), ("token" = [])), responses(
    (status = 200, description = "the figures of this moment", body = Value),
    (status = 401, description = "for insiders", body = Problem),
))]
pub(super) async fn process(_: Insider, State(shared): State<Arc<Shared>>) -> Response {
    answer(&json!({
        "timestamp": Timestamp::now(),
        "pools": shared.database.pools(),
        "process": {
            "id": std::process::id(),
            "uptime_s": shared.started.elapsed().as_secs_f64(),
            "memory_bytes": memory(),
        },
    }))
}

/// Pools, performance over the last minute, servers, and the configuration with its secrets masked
#[utoipa::path(get, path = "/api/metrics/db", tag = "figures", security((), ("token" = [])), responses(
    (status = 200, description = "the figures of this moment", body = Value),
    (status = 401, description = "for insiders", body = Problem),
))]
pub(super) async fn database(_: Insider, State(shared): State<Arc<Shared>>) -> Response {
    let database = &shared.database;
    let window = database.window();
    answer(&json!({
        "timestamp": Timestamp::now(),
        "pool": database.stats(),
        "pools": database.pools(),
        "performance": window.figures(),
        "errors": window.errors(),
        "slow": window.slow(),
        "lane_uses": database.lane_uses(),
        "servers": database.servers(),
        "server": database.server(),
        "configuration": database.settings(),
    }))
}

fn answer(body: &Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The memory that this process has in RAM, in bytes, where the system says so in `/proc`.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_a_process() {
        let bytes = memory().expect("a system with /proc");
        assert!((1 << 20..1 << 36).contains(&bytes), "{bytes}");
    }
}
