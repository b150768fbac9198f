//! The pool's figures at one moment.

use std::sync::atomic::Ordering;

use db_core::CloseReason;
use serde::Serialize;

use crate::histogram::WaitTimes;
use crate::lanes::LaneStats;
use crate::shared::Shared;

/// Figures of a pool, from [`Pool::stats`](crate::Pool::stats).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Name of the pool.
    pub pool: String,
    /// Connections open.
    pub total: u32,
    /// Of these, nobody uses.
    pub idle: u32,
    /// Connections with a caller, and those that are being cleaned.
    pub in_use: u32,
    /// Callers waiting for one.
    pub waiting: u32,
    /// The most connections, after the server's limit.
    pub max: u32,
    /// The fewest that are kept open.
    pub min: u32,
    /// `in_use` in per cent of `max`.
    pub utilization: f64,
    /// Whether nobody is admitted until [`Pool::resume`](crate::Pool::resume).
    pub is_paused: bool,
    /// Connections opened since the beginning.
    pub opened: u64,
    /// Connections closed since the beginning, by reason.
    pub closed: Closings,
    /// How long callers waited.
    pub waited: WaitTimes,
    /// Those that statements of many callers share.
    pub lanes: LaneStats,
}

/// How many connections were closed, by [reason](CloseReason).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are the reasons, documented there")]
pub struct Closings {
    pub idle: u32,
    pub lifetime: u32,
    pub uses: u32,
    pub broken: u32,
    pub unclean: u32,
    pub rotated: u32,
    pub resized: u32,
    pub detached: u32,
    pub pool_closed: u32,
}

impl Closings {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u32 {
        let Self { idle, lifetime, uses, broken, unclean, rotated, resized, detached, pool_closed } = self;
        idle + lifetime + uses + broken + unclean + rotated + resized + detached + pool_closed
    }

    fn set(&mut self, reason: CloseReason, count: u32) {
        let field = match reason {
            CloseReason::Idle => &mut self.idle,
            CloseReason::Lifetime => &mut self.lifetime,
            CloseReason::Uses => &mut self.uses,
            CloseReason::Broken => &mut self.broken,
            CloseReason::Unclean => &mut self.unclean,
            CloseReason::Rotated => &mut self.rotated,
            CloseReason::Resized => &mut self.resized,
            CloseReason::Detached => &mut self.detached,
            _ => &mut self.pool_closed,
        };
        *field = count;
    }
}

impl Stats {
    pub(crate) fn read(shared: &Shared) -> Self {
        let (in_use, max, total) = (shared.gate.inside(), shared.seats.max(), shared.seats.open());
        let mut closed = Closings::default();
        for (reason, count) in shared.about.closed.counts() {
            closed.set(reason, count);
        }
        Self {
            pool: shared.about.pool.clone(),
            total,
            // Not what lies in the store: upkeep takes that out for a moment to look at it.
            idle: total.saturating_sub(in_use),
            in_use,
            waiting: shared.waiting(),
            max,
            min: shared.min(),
            utilization: f64::from(in_use) * 100.0 / f64::from(max),
            is_paused: shared.is_paused.load(Ordering::Relaxed),
            opened: shared.about.opened.load(Ordering::Relaxed),
            closed,
            waited: shared.waited.read(),
            lanes: shared.lanes.stats(),
        }
    }
}
