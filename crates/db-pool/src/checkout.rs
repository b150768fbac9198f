//! From admission to a connection that may be handed out: take an idle one or open one, and check it.

use std::sync::Arc;
use std::time::Duration;

use db_core::{CloseReason, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connector::{Connector, Failure, LastFailure};
use crate::gate::Refused;
use crate::physical::Physical;
use crate::pool::Shared;
use crate::settings::{Settings, moment_after};

/// At most this many callers wait for the store at once, and at most this many connections are opened at once, so that
/// a restarted server is not met by a stampede.
pub(crate) const AT_ONCE: usize = 2;

/// How often a caller looks again for an idle connection. bb8 wakes its waiters one by one and keeps at most one
/// wake-up for nobody, so two connections that come back at the same instant can wake one caller.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A connection out of the store.
pub(crate) type Pooled = bb8::PooledConnection<'static, Connector>;

/// How many failures to connect a caller still sits through.
pub(crate) struct Patience(usize);

impl Patience {
    fn new(settings: &Settings) -> Self {
        Self(settings.connect_retry.max_retries)
    }

    /// Takes in a failure: an error when it cannot pass by itself, or was one too many.
    fn bear(&mut self, failure: &Failure) -> Result<()> {
        match self.0.checked_sub(1) {
            Some(left) if failure.is_transient => {
                self.0 = left;
                Ok(())
            }
            _ => Err(failure.error.duplicate()),
        }
    }
}

/// Opens a connection for a pool that has none yet.
pub(crate) async fn connect_patiently(connector: &Connector, settings: &Settings) -> Result<Physical> {
    let deadline = moment_after(settings.acquire_timeout);
    let mut patience = Patience::new(settings);
    let mut last = None;
    loop {
        match timeout_at(deadline, connector.open()).await {
            Ok(Ok(physical)) => return Ok(physical),
            Ok(Err(failure)) => {
                patience.bear(&failure)?;
                last = Some(failure);
            }
            Err(_) => {
                return Err(last.map_or_else(|| connector.silent(), |failure| failure.error.duplicate()));
            }
        }
    }
}

/// Gives the admitted caller a connection that is known to work.
pub(crate) async fn checkout(shared: &Shared, started: Instant, deadline: Instant) -> Result<Pooled> {
    let mut patience = Patience::new(&shared.settings);
    while Instant::now() < deadline {
        // Nobody overtakes those who wait for a connection to come back or to be opened.
        let idle = if shared.is_anyone_waiting() { None } else { shared.pop_idle() };
        let pooled = match idle {
            Some(idle) => idle,
            None => tokio::select! {
                biased;
                () = shared.closing.cancelled() => return Err(shared.refused(&Refused::Closed)),
                waited = timeout_at(deadline, wait(shared, &mut patience)) => match waited {
                    Ok(waited) => waited?,
                    Err(_) => break,
                },
            },
        };
        if let Some(checked) = check(pooled, shared, deadline).await {
            return Ok(checked);
        }
    }
    Err(shared.timed_out(started.elapsed()))
}

/// Waits for a turn, then for a connection that comes back or is opened. At most as many wait in the store as may
/// connect at once; the others stand in line. What is wrong with the server concerns all of them.
async fn wait(shared: &Shared, patience: &mut Patience) -> Result<Pooled> {
    let mut failures = shared.failures.clone();
    failures.mark_unchanged();
    let _turn = loop {
        tokio::select! {
            biased;
            // The semaphore is never closed.
            turn = shared.turns.acquire() => break turn.ok(),
            failure = next_failure(&mut failures) => patience.bear(&failure)?,
        }
    };
    // Waiting on the store has it open a connection, once; the connector paces these attempts. The wait itself goes on
    // meanwhile, since what comes back is as good.
    let mut returned = Box::pin(shared.store.get_owned());
    loop {
        tokio::select! {
            biased;
            got = &mut returned => if let Ok(pooled) = got {
                return Ok(pooled);
            },
            failure = next_failure(&mut failures) => patience.bear(&failure)?,
            () = sleep(LOOK_AGAIN) => {}
        }
        returned = Box::pin(shared.store.get_owned());
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
