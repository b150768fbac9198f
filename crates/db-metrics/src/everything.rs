//! Everything that metrics can be told and can watch, once each: the list by which tests see all metrics. It is a part of the tests here
//! and of those of `deploy/`, which include it by its path; what they compare with it is theirs.

use std::panic::Location;
use std::time::Duration;

use db_core::{
    Abandoned, AcquireFailed, Acquired, BreakerChanged, BreakerState, Cause, CloseReason, Closed,
    CommitResolved, ConnectFailed, Connected, ConnectionState, EndpointChanged, Error, Executed, GaveUp,
    GaveUpReason, Leaked, Observer, Outcome, Phase, ReadMoved, Released, ResolvedBy, Retried, ServerError,
    Severity, Signal, SqlState, Wait,
};

use super::{Metrics, PoolFigures, ServerFigures};

/// Every event, so that each counter is born with all of its labels.
pub(crate) fn tell_all(metrics: &Metrics) {
    let (pool, endpoint, took) = ("primary", "db.example:5432", Duration::from_millis(2));
    let refused = ServerError::new(SqlState::SERIALIZATION_FAILURE, Severity::Error, "could not serialize");
    let failure = Error::server_error(refused, Phase::Execute);
    let busy = Error::new(Signal::new(Cause::PoolBusy, Phase::Acquire), "busy");
    let busy = busy.with_wait(Wait { waited: took, in_use: 2, max: 2, waiting: 1 });
    metrics.connected(&Connected::new(pool, endpoint, took));
    metrics.connect_failed(&ConnectFailed::new(pool, endpoint, &failure));
    metrics.acquired(&Acquired::new(pool, took, 1, 2));
    metrics.acquire_failed(&AcquireFailed::new(pool, &busy));
    metrics.released(&Released::new(pool, took));
    metrics.closed(&Closed::new(pool, endpoint, CloseReason::Idle, ConnectionState::Idle, took));
    metrics.leaked(&Leaked::new(pool, Location::caller(), took));
    metrics.executed(&Executed::new(pool, endpoint, "SELECT 1 FROM t", took, true, Some(3), None));
    metrics.executed(&Executed::new(pool, endpoint, "SELECT 1 FROM t", took, false, None, Some(&failure)));
    metrics.abandoned(&Abandoned::new(pool, endpoint, "SELECT 1 FROM t", took, false));
    metrics.retried(&Retried::new(endpoint, "fetch", 1, took, format_args!("lost")));
    metrics.gave_up(&GaveUp::new(endpoint, "fetch", 3, GaveUpReason::Exhausted, format_args!("lost")));
    metrics.breaker_changed(&BreakerChanged::new(endpoint, BreakerState::Open, None));
    metrics.commit_resolved(&CommitResolved::new(endpoint, ResolvedBy::Marker, Outcome::Executed));
    metrics.endpoint_changed(&EndpointChanged::new(endpoint, "replica", "primary", None));
    metrics.read_moved(&ReadMoved::new(endpoint, None));
    metrics.migrated(took);
}

/// All that can be asked for.
pub(crate) fn watch_all(metrics: &Metrics) {
    metrics.watch_pools(|| vec![PoolFigures::named("primary")]);
    metrics.watch_servers(|| {
        let mut server = ServerFigures::named("db.example:5432", "replica");
        (server.lag, server.lag_bytes) = (Some(Duration::from_secs(1)), Some(16));
        vec![server]
    });
    metrics.watch_components(|| vec![("postgres".to_owned(), 0)]);
    metrics.watch_alerts(|| vec![("utilization".to_owned(), false)]);
    metrics.watch_pending(|| Some(0));
}
