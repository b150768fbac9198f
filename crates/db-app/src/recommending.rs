//! What a person could do about a database, from the figures that are there. What is worth a sentence is decided in `db-health`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use db_health::{PoolUse, Recommendation, Situation, recommend};
use db_pool::Stats;
use tokio::time::Instant;

use crate::Database;

/// From here on a pool is busy, in per cent.
const BUSY: f64 = 80.0;

impl Database {
    /// What could be done, most urgent first, in sentences that name the setting; none when all is well. Never waits.
    #[must_use]
    pub fn recommendations(&self) -> Vec<Recommendation> {
        let mut situation = Situation::default();
        let window = self.window().figures();
        let pool_use = |stats| pool_use(stats, &self.inner.busy, window.wait_p99_ms);
        situation.pools = self.pools().into_iter().map(pool_use).collect();
        (situation.window, situation.errors) = (window, self.window().errors());
        let lag = self.servers().into_iter().filter_map(|server| server.lag).map(|lag| millis(lag.time));
        situation.lag_ms = lag.max_by(f64::total_cmp);
        situation.max_lag_ms = Some(millis(self.inner.max_lag));
        recommend(&situation)
    }
}

/// Since when each pool has had more than 80 % of its connections in use, at every look of the alerts.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<HashMap<String, Instant>>);

impl Busy {
    pub(crate) fn look(&self, pools: &[Stats], now: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Stats { pool, utilization, .. } in pools {
            if *utilization <= BUSY {
                since.remove(pool);
            } else if !since.contains_key(pool) {
                since.insert(pool.clone(), now);
            }
        }
    }

    fn lasts(&self, pool: &str) -> Duration {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(pool).map(Instant::elapsed).unwrap_or_default()
    }
}

fn pool_use(stats: Stats, busy: &Busy, wait_p99_ms: f64) -> PoolUse {
    let mut pool = PoolUse::default();
    let is_for_reads = stats.pool.starts_with("reads ");
    pool.setting = if is_for_reads { "DB_REPLICA_POOL_MAX" } else { "DB_POOL_MAX" }.to_owned();
    (pool.max, pool.utilization, pool.waiting) = (stats.max, stats.utilization, stats.waiting);
    (pool.wait_p99_ms, pool.busy_for) = (wait_p99_ms, busy.lasts(&stats.pool));
    pool.name = stats.pool;
    pool
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
