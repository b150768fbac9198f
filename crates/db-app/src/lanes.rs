//! What a service sees of lanes, and how it keeps off them. What they are is in `db-pool`.

use db_pool::LaneUse;
use db_retry::Work;

use crate::{Database, Retrying};

impl Database {
    /// The verbs of the database itself, each statement on a connection of its own. Short statements of many callers otherwise
    /// share a few of the pool's connections by themselves, as far as that is safe ([lanes](db_pool#lanes)); nobody notices but by
    /// the speed, and by who runs what in `pg_stat_activity`. `DB_LANES=0` turns it off for all.
    #[must_use]
    pub fn exclusive(&self) -> Retrying<'_> {
        self.retrying(Work::Write).exclusive()
    }

    /// The statements that ran by the verbs of the database and of its views on the primary, those that ran most often first, and
    /// why each does or does not share connections.
    #[must_use]
    pub fn lane_uses(&self) -> Vec<LaneUse> {
        self.inner.pool.lane_uses()
    }
}
