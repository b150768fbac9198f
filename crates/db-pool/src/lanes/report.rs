//! Figures of lanes, and of the statements on them, at one moment.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use db_core::without_literals;
use serde::Serialize;

use super::Lanes;
use crate::Pool;

/// Figures of the lanes of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaneStats {
    /// Lanes that are open; they count as connections in use.
    pub open: u32,
    /// The most, by the settings; zero where lanes are off.
    pub max: u32,
    /// Statements in flight on all of them.
    pub in_flight: u32,
    /// Those of the lane with the most.
    pub deepest: u32,
    /// Statements that wait until a lane has room for them.
    pub waiting: u32,
    /// Statements that were answered on lanes since the beginning.
    pub statements: u64,
    /// Of these, were run once more on a connection of their own.
    pub reruns: u64,
    /// How often a statement was sent back to connections of its own.
    pub demotions: u64,
}

/// One statement, and how it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaneUse {
    /// Its text, without literals.
    pub sql: String,
    /// How often it ran on lanes.
    pub on_lanes: u64,
    /// How often it ran on connections of its own.
    pub alone: u64,
    /// How often it was sent back to these.
    pub demotions: u32,
    /// Why it does not use lanes now; none if it does.
    pub why_not: Option<String>,
}

impl Lanes {
    pub(crate) fn stats(&self) -> LaneStats {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let loads = open.iter().map(|lane| lane.load());
        LaneStats {
            open: u32::try_from(open.len()).unwrap_or(u32::MAX),
            max: self.settings.max,
            in_flight: loads.clone().sum(),
            deepest: loads.max().unwrap_or(0),
            waiting: self.common.backlog.len(),
            statements: self.common.answered.load(Ordering::Relaxed),
            reruns: self.reruns.load(Ordering::Relaxed),
            demotions: self.demotions.load(Ordering::Relaxed),
        }
    }
}

impl Pool {
    /// The statements that ran by the verbs of the pool, those that ran most often first, and why each does or does not use lanes.
    /// At most some two thousand are remembered.
    #[must_use]
    pub fn lane_uses(&self) -> Vec<LaneUse> {
        let mut uses: Vec<_> = self
            .shared
            .lanes
            .learned
            .all()
            .into_iter()
            .map(|(sql, history)| {
                let (on_lanes, alone) = history.runs();
                LaneUse {
                    sql: without_literals(&sql),
                    on_lanes,
                    alone,
                    demotions: history.demotions(),
                    why_not: history.why_not(),
                }
            })
            .collect();
        uses.sort_by_key(|one| std::cmp::Reverse(one.on_lanes + one.alone));
        uses
    }
}
