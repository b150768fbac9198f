//! Looks at every server, each for itself, so that a silent one does not hold up what is known of the others.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Acquire, Error, Kind, Result};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::settings::moment_after;
use crate::shared::Shared;
use crate::sighting::Sighting;

/// While something is wrong, looks follow each other so many times faster.
const HURRY: u32 = 5;

/// Looks that are asked for are no closer than this, however many ask.
const CLOSEST: Duration = Duration::from_millis(20);

/// Looks at one server until it is dropped.
pub(crate) async fn watch<P: Acquire>(shared: Arc<Shared<P>>, index: usize) {
    let mut is_told = false;
    loop {
        let began = Instant::now();
        let outcome = look(&shared, index).await;
        let endpoint = &shared.endpoints[index];
        match &outcome {
            Look::Saw(sighting) => {
                if !sighting.sees_receiver && !is_told {
                    is_told = true;
                    tracing::warn!(target: "db::cluster", endpoint = &*endpoint.name,
                        "the role may not see the receiver of a standby, so that a promotion is noticed late there: \
                         grant it pg_read_all_stats");
                }
                shared.saw(index, *sighting, began);
            }
            Look::Missed(error) => {
                tracing::debug!(target: "db::cluster", endpoint = &*endpoint.name,
                    error = error.as_ref().map(tracing::field::display), "missed look");
                shared.missed(index, error.as_ref());
            }
            Look::Busy => {}
        }
        let has_primary = shared.board.borrow().standings.contains(&crate::Standing::Primary);
        let interval = shared.settings.look_interval;
        let is_well = has_primary && !matches!(outcome, Look::Missed(_));
        let pause = if is_well { interval } else { interval / HURRY };
        tokio::select! {
            () = sleep(pause) => {}
            () = endpoint.look_now.notified() => sleep_until(began + CLOSEST).await,
        }
    }
}

/// What came of a look.
pub(crate) enum Look {
    Saw(Sighting),
    /// Why, unless it was silent.
    Missed(Option<Error>),
    /// Its pool had nothing free, which says nothing of the server.
    Busy,
}

/// Looks once.
pub(crate) async fn look<P: Acquire>(shared: &Shared<P>, index: usize) -> Look {
    let limit = shared.settings.look_timeout;
    let endpoint = &shared.endpoints[index];
    let pool = endpoint.look_pool.as_ref().unwrap_or(&endpoint.pool);
    // A little sooner, so that the pool can say what is wrong.
    let deadline = moment_after(limit.mul_f64(0.9));
    match timeout(limit, ask(pool, deadline)).await {
        Ok(Ok(sighting)) => Look::Saw(sighting),
        // Nobody else uses a pool that is for looks.
        Ok(Err(error)) if endpoint.look_pool.is_none() && error.kind() == Kind::Performance => Look::Busy,
        Ok(Err(error)) => Look::Missed(Some(error)),
        Err(_) => Look::Missed(None),
    }
}

async fn ask<P: Acquire>(pool: &P, deadline: Instant) -> Result<Sighting> {
    let conn = pool.acquire(Some(deadline.into_std())).await?;
    Sighting::ask(&conn).await
}
