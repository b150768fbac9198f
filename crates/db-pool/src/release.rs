//! What becomes of a connection when its caller lets go: back at once when it is clean, cleaned in the background when it
//! can be, closed otherwise. A task of its own does what takes time, since dropping cannot wait.

use std::sync::Arc;

use db_core::CloseReason;
use tokio::time::{Instant, timeout};

use crate::Detached;
use crate::checkout::Pooled;
use crate::session::Session;
use crate::shared::Shared;
use crate::watch::Caller;

/// A connection with its place. Fields go in this order: the connection before the place, so that whoever is admitted
/// next finds it.
pub(crate) struct Held {
    physical: Option<Pooled>,
    session: Arc<Session>,
    place: Place,
}

/// One of the places that the pool has, from admission to release.
pub(crate) struct Place(pub(crate) Arc<Shared>);

impl Place {
    /// For a caller whom the gate has admitted.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

/// Who let go of it without a word, as when an observer panicked, has not said how it is.
impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut physical) = self.physical.take() {
            physical.discard.get_or_insert(CloseReason::Unclean);
            self.place.0.put_back(physical);
        }
    }
}

impl Held {
    pub(crate) fn new(mut physical: Pooled, place: Place, now: Instant, caller: Caller) -> Self {
        physical.checked_out();
        physical.watched.begin(now, caller);
        if physical.is_severed() {
            physical.session.abort();
        }
        Self { session: Arc::clone(&physical.session), physical: Some(physical), place }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.physical.as_ref().map_or("", |physical| physical.endpoint())
    }

    /// Why it may not be handed out again.
    pub(crate) fn worn_out(&self, now: Instant) -> Option<CloseReason> {
        self.physical.as_ref().and_then(|physical| physical.worn_out(now))
    }

    /// Notes that it is kept for long on purpose.
    pub(crate) fn is_no_leak(&self) {
        if let Some(physical) = &self.physical {
            physical.watched.is_no_leak();
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.place.0
    }

    /// Lets go of the connection. Its place stays taken until it is clean or closed.
    pub(crate) fn release(mut self, has_unfinished: bool, now: Instant) {
        let reset = self.shared().settings.reset;
        if self.session.client.is_closed() {
            self.discard(CloseReason::Broken);
        } else if !self.session.is_usable() {
            // Nothing can clean it; what runs on it must still end.
            self.discard(CloseReason::Unclean);
            let runtime = self.shared().runtime.clone();
            runtime.spawn(self.cancel());
            return;
        } else if has_unfinished || !self.session.is_clean(reset) {
            // Until it is known to be clean, and also when the runtime has ended and drops the task unseen.
            self.discard(CloseReason::Unclean);
            let runtime = self.shared().runtime.clone();
            runtime.spawn(self.clean(has_unfinished));
            return;
        }
        self.end(now);
    }

    /// Takes the connection out of the pool, whose place becomes free.
    pub(crate) fn detach(mut self) -> Detached {
        let detached = Detached::new(Arc::clone(&self.session), &self.shared().about);
        self.discard(CloseReason::Detached);
        self.end(Instant::now());
        detached
    }

    async fn clean(mut self, has_unfinished: bool) {
        let settings = &self.shared().settings;
        let cleaned =
            timeout(settings.connect_timeout, self.session.clean(has_unfinished, settings.reset)).await;
        if matches!(cleaned, Ok(Ok(()))) && self.session.wire.is_quiet() {
            if let Some(physical) = &mut self.physical {
                physical.discard = None;
            }
        } else {
            tracing::debug!(target: "db::pool", "a connection could not be cleaned");
        }
        self.end(Instant::now());
    }

    async fn cancel(self) {
        timeout(self.shared().settings.connect_timeout, self.session.cancel()).await.ok();
        self.end(Instant::now());
    }

    fn discard(&mut self, reason: CloseReason) {
        if let Some(physical) = &mut self.physical {
            physical.discard = Some(reason);
        }
    }

    fn end(mut self, now: Instant) {
        let shared = Arc::clone(self.shared());
        if let Some(mut physical) = self.physical.take() {
            physical.watched.end();
            if shared.gate.is_closed() {
                physical.discard.get_or_insert(CloseReason::PoolClosed);
            } else if shared.seats.taken() > shared.seats.max() {
                physical.discard.get_or_insert(CloseReason::Resized);
            }
            physical.checked_in(now);
            shared.put_back(physical);
        }
        drop(self);
        shared.check_use();
    }
}
