//! One physical connection and what the pool must know of it. It reports its own end, whoever drops it.

use std::sync::Arc;
use std::time::Duration;

use db_core::{CloseReason, Closed, ConnectionState, Observer};
use rand::RngExt;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::settings::{Settings, moment_after};

/// A connection to the server.
pub(crate) struct Physical {
    pub(crate) client: Client,
    pub(crate) idle_since: Instant,
    /// Set when it must not be used again.
    pub(crate) discard: Option<CloseReason>,
    /// The task that drives the connection. Left alone it ends with the client, once the server has answered what it owes.
    driver: AbortHandle,
    in_use: bool,
    born: Instant,
    expires: Instant,
    uses_left: u32,
    about: Arc<About>,
}

/// What all connections of one pool share.
pub(crate) struct About {
    pub(crate) pool: String,
    pub(crate) endpoint: String,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Physical {
    pub(crate) fn new(client: Client, driver: AbortHandle, settings: &Settings, about: Arc<About>) -> Self {
        let now = Instant::now();
        Self {
            client,
            driver,
            idle_since: now,
            discard: None,
            in_use: false,
            born: now,
            expires: jittered(settings.max_lifetime),
            uses_left: settings.max_uses,
            about,
        }
    }

    /// Notes that a caller has it now.
    pub(crate) fn checked_out(&mut self) {
        self.in_use = true;
        self.uses_left = self.uses_left.saturating_sub(1);
    }

    /// Notes that a caller gave it back, and decides whether it may go on.
    pub(crate) fn checked_in(&mut self) {
        self.idle_since = Instant::now();
        if self.discard.is_none() {
            self.discard = self.worn_out();
            // What broke did so in the caller's hands.
            self.in_use = self.discard == Some(CloseReason::Broken);
        }
    }

    /// Why it may not be handed out, as far as that can be told without asking the server.
    pub(crate) fn worn_out(&self) -> Option<CloseReason> {
        if self.client.is_closed() {
            Some(CloseReason::Broken)
        } else if self.uses_left == 0 {
            Some(CloseReason::Uses)
        } else if Instant::now() >= self.expires {
            Some(CloseReason::Lifetime)
        } else {
            None
        }
    }
}

/// When a connection of that lifetime is replaced: after 90 % to 110 % of it.
fn jittered(lifetime: Duration) -> Instant {
    let percent = rand::rng().random_range(90..=110);
    moment_after(lifetime.checked_mul(percent).map_or(lifetime, |lifetime| lifetime / 100))
}

impl Drop for Physical {
    fn drop(&mut self) {
        let About { pool, endpoint, observer } = &*self.about;
        let reason = self.discard.unwrap_or(CloseReason::PoolClosed);
        let state = if self.in_use { ConnectionState::InUse } else { ConnectionState::Idle };
        if matches!(reason, CloseReason::Broken | CloseReason::Unclean) {
            // A server that answers nothing would keep the task, and the socket, for ever.
            self.driver.abort();
        }
        observer.closed(&Closed::new(pool, endpoint, reason, state, self.born.elapsed()));
    }
}
