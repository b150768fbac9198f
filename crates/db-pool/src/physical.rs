//! One physical connection and what the pool must know of it. It reports its own end, whoever drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use db_core::{CloseReason, Closed, ConnectionState, Observer};
use rand::RngExt;
use tokio::time::Instant;

use crate::connector::Aim;
use crate::seats::Seat;
use crate::session::Session;
use crate::settings::{Settings, moment_after};
use crate::watch::Watched;

/// A connection to the server.
pub(crate) struct Physical {
    pub(crate) session: Arc<Session>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) idle_since: Instant,
    /// When the server last gave a sign of life.
    pub(crate) last_ok: Instant,
    /// Set when it must not be used again.
    pub(crate) discard: Option<CloseReason>,
    in_use: bool,
    born: Instant,
    expires: Instant,
    uses_left: u32,
    epoch: u64,
    /// Where it goes.
    aim: Arc<Aim>,
    about: Arc<About>,
    _seat: Seat,
}

/// What all connections of one pool share.
pub(crate) struct About {
    pub(crate) pool: String,
    pub(crate) observer: Arc<dyn Observer>,
    /// Connections of an earlier one are replaced.
    pub(crate) epoch: AtomicU64,
    /// Connections of an earlier epoch than this one may not be used at all.
    pub(crate) severed: AtomicU64,
    /// How many connections there have been.
    pub(crate) opened: AtomicU64,
    pub(crate) closed: Tally,
    /// Connections that live on outside of the pool.
    pub(crate) detached: AtomicUsize,
}

/// Where and when a connection was made.
pub(crate) struct MadeIn {
    pub(crate) about: Arc<About>,
    pub(crate) aim: Arc<Aim>,
    pub(crate) epoch: u64,
}

/// How many connections were closed, by reason.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU32; 9]);

impl Tally {
    /// In the order in which they are shown.
    pub(crate) const REASONS: [CloseReason; 9] = [
        CloseReason::Idle,
        CloseReason::Lifetime,
        CloseReason::Uses,
        CloseReason::Broken,
        CloseReason::Unclean,
        CloseReason::Rotated,
        CloseReason::Resized,
        CloseReason::Detached,
        CloseReason::PoolClosed,
    ];

    fn add(&self, reason: CloseReason) {
        if let Some(index) = Self::REASONS.iter().position(|known| *known == reason) {
            self.0[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (CloseReason, u32)> {
        Self::REASONS.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl Physical {
    /// Of `made_in` the epoch is the one in which it began to be opened.
    pub(crate) fn new(session: Session, settings: &Settings, made_in: MadeIn, seat: Seat) -> Self {
        let MadeIn { about, aim, epoch } = made_in;
        let now = Instant::now();
        about.opened.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(session);
        Self {
            watched: Arc::new(Watched::new(Arc::clone(&session))),
            session,
            idle_since: now,
            last_ok: now,
            discard: None,
            in_use: false,
            born: now,
            expires: jittered(settings.max_lifetime),
            uses_left: settings.max_uses,
            epoch,
            aim,
            about,
            _seat: seat,
        }
    }

    /// Where it goes.
    pub(crate) fn endpoint(&self) -> &str {
        &self.aim.endpoint
    }

    /// Notes that a caller has it now.
    pub(crate) fn checked_out(&mut self) {
        self.in_use = true;
        self.uses_left = self.uses_left.saturating_sub(1);
    }

    /// Notes that a caller gave it back, and decides whether it may go on.
    pub(crate) fn checked_in(&mut self, now: Instant) {
        (self.idle_since, self.last_ok) = (now, now);
        if self.discard.is_none() {
            self.discard = self.worn_out(now);
            // What broke did so in the caller's hands.
            self.in_use = self.discard == Some(CloseReason::Broken);
        }
    }

    /// Whether its pool was severed after it began to be opened.
    pub(crate) fn is_severed(&self) -> bool {
        self.epoch < self.about.severed.load(Ordering::Acquire)
    }

    /// Why it may not be handed out, as far as that can be told without asking the server.
    pub(crate) fn worn_out(&self, now: Instant) -> Option<CloseReason> {
        if self.is_severed() {
            Some(CloseReason::Rotated)
        } else if !self.session.is_usable() {
            Some(CloseReason::Broken)
        } else if self.uses_left == 0 {
            Some(CloseReason::Uses)
        } else if now >= self.expires {
            Some(CloseReason::Lifetime)
        } else if self.epoch != self.about.epoch.load(Ordering::Acquire) {
            Some(CloseReason::Rotated)
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
        let About { pool, observer, closed, .. } = &*self.about;
        let reason = self.discard.unwrap_or(CloseReason::PoolClosed);
        let state = if self.in_use { ConnectionState::InUse } else { ConnectionState::Idle };
        if matches!(reason, CloseReason::Broken | CloseReason::Unclean) {
            // A server that answers nothing would keep the task, and the socket, for ever.
            self.session.abort();
        }
        closed.add(reason);
        observer.closed(&Closed::new(pool, &self.aim.endpoint, reason, state, self.born.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_were_opened_together_are_not_replaced_together() {
        let now = Instant::now();
        let lives: Vec<_> = (0..100).map(|_| jittered(Duration::from_secs(1_000)) - now).collect();
        let (least, most) = (lives.iter().min().expect("some"), lives.iter().max().expect("some"));
        assert!(
            *least >= Duration::from_secs(900) && *most <= Duration::from_secs(1_100),
            "{least:?} {most:?}"
        );
        assert!(*most - *least >= Duration::from_secs(50), "{least:?} {most:?}");
    }
}
