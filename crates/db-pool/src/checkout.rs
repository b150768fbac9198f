//! From admission to a connection that may be handed out: take an idle one or open one, and check it.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use db_core::{CloseReason, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::connector::{Connector, Failure, LastFailure};
use crate::physical::Physical;
use crate::pool::Shared;
use crate::settings::{ConnectRetry, Settings, moment_after};

/// At most this many callers wait for the store at once, and at most this many connections are opened at once, so that
/// a restarted server is not met by a stampede.
pub(crate) const AT_ONCE: usize = 2;

/// How often a caller looks again for an idle connection. bb8 wakes its waiters one by one and keeps at most one
/// wake-up for nobody, so two connections that come back at the same instant can wake one caller.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A connection out of the store.
pub(crate) type Pooled = bb8::PooledConnection<'static, Connector>;

impl ConnectRetry {
    fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.initial_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_retries)
            .with_jitter()
            .build()
    }
}

/// Opens a connection for a pool that has none yet.
pub(crate) async fn connect_patiently(connector: &Connector, settings: &Settings) -> Result<Physical> {
    let deadline = moment_after(settings.acquire_timeout);
    let mut delays = settings.connect_retry.delays();
    loop {
        match connector.open().await {
            Ok(physical) => return Ok(physical),
            Err(failure) => {
                let pause = pause_after(&failure, &mut delays, deadline)?;
                sleep(pause).await;
            }
        }
    }
}

/// Gives the admitted caller a connection that is known to work.
pub(crate) async fn checkout(shared: &Shared, started: Instant, deadline: Instant) -> Result<Pooled> {
    let mut delays = shared.settings.connect_retry.delays();
    while Instant::now() < deadline {
        // Nobody overtakes those who wait for a connection to come back or to be opened.
        let idle = if shared.is_anyone_waiting() { None } else { shared.pop_idle() };
        let pooled = match idle {
            Some(idle) => idle,
            None => match timeout_at(deadline, wait(shared, &mut delays, deadline)).await {
                Ok(waited) => waited?,
                Err(_) => break,
            },
        };
        if let Some(checked) = check(pooled, shared, deadline).await {
            return Ok(checked);
        }
    }
    Err(shared.timed_out(started.elapsed()))
}

/// Waits for a turn, then for a connection that comes back or is opened. At most as many wait in the store as may
/// connect at once; the others stand in line.
async fn wait(
    shared: &Shared,
    delays: &mut impl Iterator<Item = Duration>,
    deadline: Instant,
) -> Result<Pooled> {
    let mut failures = shared.failures.clone();
    failures.mark_unchanged();
    let turn = loop {
        tokio::select! {
            biased;
            // The semaphore is never closed.
            turn = shared.turns.acquire() => break turn.ok(),
            // What is wrong with the server concerns everybody in line.
            failure = next_failure(&mut failures) => {
                pause_after(&failure, delays, deadline)?;
            }
        }
    };
    loop {
        // Waiting on the store makes it open a connection when none is idle.
        tokio::select! {
            biased;
            got = shared.store.get_owned() => {
                if let Ok(pooled) = got {
                    drop(turn);
                    return Ok(pooled);
                }
            }
            failure = next_failure(&mut failures) => {
                let pause = pause_after(&failure, delays, deadline)?;
                wait_for_idle(shared, pause).await;
            }
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// How long to wait before the next attempt; the failure itself when there is to be none.
fn pause_after(
    failure: &Failure,
    delays: &mut impl Iterator<Item = Duration>,
    deadline: Instant,
) -> Result<Duration> {
    let give_up = || Err(failure.error.duplicate());
    if !failure.is_transient {
        return give_up();
    }
    match delays.next() {
        Some(pause) if Instant::now() + pause < deadline => Ok(pause),
        _ => give_up(),
    }
}

async fn next_failure(failures: &mut watch::Receiver<LastFailure>) -> Arc<Failure> {
    loop {
        if failures.changed().await.is_err() {
            // The connector lives as long as the store; without one there is nothing to fail.
            std::future::pending::<()>().await;
        }
        if let Some(failure) = &*failures.borrow_and_update() {
            return Arc::clone(failure);
        }
    }
}

/// Waits, but not longer than until somebody gives a connection back.
async fn wait_for_idle(shared: &Shared, pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end && shared.store.state().idle_connections == 0 {
        sleep_until(end.min(Instant::now() + LOOK_AGAIN)).await;
    }
}

/// Gives the connection on if it may be used; otherwise it is closed on the way out.
async fn check(mut pooled: Pooled, shared: &Shared, deadline: Instant) -> Option<Pooled> {
    pooled.discard = pooled.worn_out();
    if pooled.discard.is_some() {
        return None;
    }
    let settings = &shared.settings;
    if pooled.idle_since.elapsed() >= settings.check_after {
        // Until the server has answered it counts as broken, so that a check which is given up closes it.
        pooled.discard = Some(CloseReason::Broken);
        let limit = deadline.min(moment_after(settings.check_timeout));
        let answered = timeout_at(limit, pooled.client.check_connection()).await;
        if !matches!(answered, Ok(Ok(()))) {
            return None;
        }
        pooled.discard = None;
    }
    Some(pooled)
}
