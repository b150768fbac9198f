//! Upkeep in the background: closes what nobody needs, down to the minimum, and fills up to it. It takes only connections
//! and places that are free this instant.

use std::sync::Weak;
use std::time::Duration;

use db_core::CloseReason;
use tokio::time::{Instant, sleep};

use crate::pool::Shared;

/// The pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause while the server cannot be reached. Callers open what they need without waiting for a round.
const LONGEST: Duration = Duration::from_secs(30);

/// Runs until the pool is gone.
pub(crate) async fn run(shared: Weak<Shared>) {
    let mut pause = INTERVAL;
    loop {
        {
            let Some(shared) = shared.upgrade() else { return };
            if shared.gate.is_closed() {
                return;
            }
            expire(&shared);
            let usual = INTERVAL.min(shared.settings.idle_timeout / 2).max(Duration::from_millis(10));
            pause = if fill(&shared).await { usual } else { LONGEST.min(pause * 2) };
        }
        sleep(pause).await;
    }
}

/// Closes idle connections that are worn out, or that have been idle too long while more than the minimum are open.
fn expire(shared: &Shared) {
    let min = shared.settings.min.min(shared.max);
    let mut kept = Vec::new();
    let now = Instant::now();
    let mut open = shared.store.state().connections;
    while let Some(permit) = shared.gate.try_admit()
        && let Some(mut physical) = shared.pop_idle()
    {
        let is_unneeded = open > min && now - physical.idle_since >= shared.settings.idle_timeout;
        physical.discard = physical.worn_out().or(is_unneeded.then_some(CloseReason::Idle));
        if physical.discard.is_some() {
            open = open.saturating_sub(1);
        } else {
            kept.push((physical, permit));
        }
    }
    // The store is a stack: the one used last went out first and goes back last.
    while kept.pop().is_some() {}
}

/// Opens connections up to the minimum, one after the other, and says whether the server let it; a failure is left for the
/// next round. It holds a place for
/// that time, so that callers open one less. Only when the store is opening one for a caller who gave up can there be one
/// more than the maximum, for as long as it takes the store to refuse it.
async fn fill(shared: &Shared) -> bool {
    let min = shared.settings.min.min(shared.max);
    while shared.store.state().connections < min
        && let Some(_permit) = shared.gate.try_admit()
    {
        let Ok(physical) = shared.store.dedicated_connection().await else { return false };
        if shared.gate.is_closed() || shared.store.add(physical).is_err() {
            break;
        }
    }
    true
}
