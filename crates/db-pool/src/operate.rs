//! What an operator does with an open pool: close it, pause it, change its size, replace its connections or end them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};

use crate::settings::moment_after;
use crate::shared::Shared;
use crate::{Pool, Target};

/// How long a straggler's statement may take to be cancelled when the pool is closed.
const LAST_CANCEL: Duration = Duration::from_secs(1);

/// Connections were still in use at the end of the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{in_use} connections were still in use after {waited:?}")]
pub struct StillInUse {
    /// Connections that callers held.
    pub in_use: usize,
    /// How long was waited.
    pub waited: Duration,
}

impl Pool {
    /// Closes the pool: nobody is admitted any more, those who wait are refused, those who hold a connection may finish
    /// within `limit`, then every idle connection says goodbye to the server.
    ///
    /// # Errors
    /// When connections were still in use at the end of `limit`. What runs on them is cancelled on the server, and the
    /// connections are ended under their callers, who get an error of kind connection.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pool closed to new callers; calling again goes on.
    pub async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        let deadline = moment_after(limit);
        let shared = &self.shared;
        self.maintenance.end();
        shared.gate.close();
        shared.closing.cancel();
        shared.lanes.leave_all();
        // From here on nothing is opened, and what was being opened is not kept.
        shared.drivers.close();
        let rested = rest(shared, deadline).await;
        shared.empty_store();
        if rested.is_err() {
            end_stragglers(shared).await;
            return rested;
        }
        // What remains is the farewell of idle connections, and of those that were opened at the last moment; a server that
        // does not answer it is not waited for.
        let detached = || shared.about.detached.load(Ordering::SeqCst);
        while Instant::now() < deadline && shared.drivers.len() > detached() {
            shared.empty_store();
            timeout(Duration::from_millis(20), shared.drivers.wait()).await.ok();
        }
        Ok(())
    }

    /// Admits nobody from now on, and waits until those who hold a connection have given it back. Callers wait in their
    /// order, each within its own time-out, until [`Pool::resume`]: a server can be restarted or a pooler switched meanwhile
    /// without an error to anybody.
    ///
    /// # Errors
    /// When connections were still in use at the end of `limit`. The pool stays paused.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the pool paused.
    pub async fn pause(&self, limit: Duration) -> Result<(), StillInUse> {
        {
            let _operating = self.shared.operating();
            self.shared.is_paused.store(true, Ordering::SeqCst);
            self.shared.gate.set_width(0);
            self.shared.lanes.leave_all();
        }
        rest(&self.shared, moment_after(limit)).await
    }

    /// Admits callers again, in the order in which they came.
    pub fn resume(&self) {
        let _operating = self.shared.operating();
        self.shared.is_paused.store(false, Ordering::SeqCst);
        self.shared.gate.set_width(self.shared.seats.max());
    }

    /// Changes the most connections, and gives what is in force: at least 1, and no more than the server allows.
    ///
    /// When it becomes smaller, idle connections go at once and others as they come back; nobody gets an error. The queue
    /// limit stays as it is.
    pub fn resize(&self, max: u32) -> u32 {
        let shared = &self.shared;
        // The store cannot be emptied outside of a runtime.
        let _runtime = shared.runtime.enter();
        let _operating = shared.operating();
        let max = max.clamp(1, shared.server.connection_limit);
        shared.seats.set_max(max);
        if !shared.is_paused.load(Ordering::SeqCst) {
            shared.gate.set_width(max);
        }
        shared.close_surplus();
        shared.lanes.look_now();
        // Whoever is admitted now may need what was not allowed before.
        shared.open_more();
        shared.upkeep.notify_one();
        max
    }

    /// Replaces every connection, without an error to anybody: idle ones now, others as they come back. For new
    /// credentials or certificates, after a failover, or when a role has got other settings.
    pub fn rotate(&self) {
        self.shared.about.epoch.fetch_add(1, Ordering::AcqRel);
        self.shared.upkeep.notify_one();
        self.shared.lanes.look_now();
    }

    /// Ends every connection now, also under those who use it, and opens new ones as they are needed: for a server that must
    /// not be written to any more, such as an old primary after a failover.
    ///
    /// Whoever has one gets one error of kind connection, of which what was under way is unknown; nothing is cancelled on the
    /// server, which may be out of reach. Connections that were [detached](crate::Conn::detach) are not the pool's any more.
    pub fn sever(&self) {
        let about = &self.shared.about;
        let severed = about.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        // Before looking who has one: whoever is handed one at this moment looks at it after he has it.
        about.severed.fetch_max(severed, Ordering::AcqRel);
        self.shared.lanes.look_now();
        // Whoever is opening one begins anew, and listeners reopen theirs.
        self.shared.connector.begin_anew();
        self.shared.upkeep.notify_one();
        // Idle ones too: one may be under a check, on a server that does not answer.
        for watched in self.shared.register.open() {
            watched.session.abort();
        }
    }

    /// Connects to another server from now on, and [severs](Pool::sever) every connection to the one before; the same server is
    /// turned to without any effect. Callers who wait go on waiting, for a connection to the other one; listeners
    /// hear of a [gap](crate::Heard::Gap).
    ///
    /// For servers of one cluster, after a failover: what the pool knows of the server ([`Pool::server`], how many
    /// connections it allows) stays as it was.
    pub fn turn_to(&self, target: impl Into<Target>) {
        let target = target.into();
        let aim = self.shared.connector.aim();
        if target.endpoint() == aim.endpoint && !aim.is_left {
            return;
        }
        self.shared.connector.turn_to(target);
        self.sever();
    }

    /// [Severs](Pool::sever) every connection and opens none until the pool is [turned](Pool::turn_to) to a server, this one or
    /// another: nothing more may reach this one, and no other is known yet. Callers wait within their time-outs.
    pub fn turn_away(&self) {
        self.shared.connector.turn_away();
        self.sever();
    }
}

impl Shared {
    fn operating(&self) -> MutexGuard<'_, ()> {
        self.operating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nobody has a connection.
async fn rest(shared: &Shared, deadline: Instant) -> Result<(), StillInUse> {
    let started = Instant::now();
    match timeout_at(deadline, shared.gate.empty()).await {
        Ok(()) => Ok(()),
        Err(_) => Err(StillInUse { in_use: shared.gate.inside() as usize, waited: started.elapsed() }),
    }
}

/// Cancels on the server what still runs, and ends the connections under whoever holds them.
async fn end_stragglers(shared: &Arc<Shared>) {
    let stragglers = shared.register.out();
    let cancelled = stragglers.iter().map(|straggler| straggler.session.cancel());
    timeout(LAST_CANCEL, join_all(cancelled)).await.ok();
    for straggler in stragglers {
        straggler.session.abort();
    }
}
