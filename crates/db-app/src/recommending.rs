//! What a person could do about a database, from the figures that are there. What is worth a sentence is decided in `db-health`.

use std::time::Duration;

use db_health::{AlertState, PoolUse, Recommendation, Situation, recommend};
use db_pool::Stats;
use jiff::Timestamp;

use crate::Database;

impl Database {
    /// What could be done, most urgent first, in sentences that name the setting; none when all is well. Never waits.
    #[must_use]
    pub fn recommendations(&self) -> Vec<Recommendation> {
        let mut situation = Situation::default();
        let busy_for = self.busy_for();
        situation.pools = self.pools().into_iter().map(|stats| pool_use(stats, busy_for)).collect();
        (situation.window, situation.errors) = (self.window().figures(), self.window().errors());
        let lag = self.servers().into_iter().filter_map(|server| server.lag).map(|lag| millis(lag.time));
        situation.lag_ms = lag.max_by(f64::total_cmp);
        situation.max_lag_ms = Some(millis(self.inner.max_lag));
        recommend(&situation)
    }

    /// For how long the fullest pool has been beyond the limit of its alert.
    fn busy_for(&self) -> Duration {
        let alerts = self.alerts();
        let busy =
            alerts.iter().find(|alert| alert.name == "pool_utilization" && alert.state != AlertState::Ok);
        let since = busy.map(|alert| Timestamp::now().duration_since(alert.since));
        since.and_then(|since| since.try_into().ok()).unwrap_or_default()
    }
}

fn pool_use(stats: Stats, busy_for: Duration) -> PoolUse {
    let mut pool = PoolUse::default();
    let is_for_reads = stats.pool.starts_with("reads ");
    pool.setting = if is_for_reads { "DB_REPLICA_POOL_MAX" } else { "DB_POOL_MAX" }.to_owned();
    (pool.max, pool.utilization, pool.waiting) = (stats.max, stats.utilization, stats.waiting);
    pool.wait_p99_ms = millis(Duration::from_micros(stats.waited.p99_us));
    pool.busy_for = if stats.utilization > 80.0 { busy_for } else { Duration::ZERO };
    pool.name = stats.pool;
    pool
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
