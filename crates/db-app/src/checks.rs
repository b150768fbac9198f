//! What of a database is looked at, and how often. What is judged how is in `db-health`.

use std::sync::Arc;
use std::time::Duration;

use db_health::{
    Aspect, Check, DiskProbe, PoolFigures, PoolProbe, RoleProbe, TransactionsProbe, WraparoundProbe,
};
use db_pool::Pool;

use crate::Config;
use crate::schema::SchemaProbe;
use crate::watched::Watched;

/// How often to look at what changes slowly, or costs the server something.
const SELDOM: Duration = Duration::from_secs(30);

/// The time limit of these looks: they may scan all sessions of a busy server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the server answers, takes writes if it should, and has the schema that the program needs.
pub(crate) fn of_server(server: &Arc<Watched>, config: &Config) -> Vec<Check> {
    let mut checks = vec![Check::new(Arc::clone(server))];
    if !config.pool.read_only {
        // Reads go on, so that it is for people to decide whether the service is better taken out.
        let role = RoleProbe::primary("role", Arc::clone(server) as _);
        checks.push(
            Check::new(role).part_of("postgres").aspect(Aspect::Connectivity).non_critical().internal(),
        );
    }
    if let Some(range) = &config.migrations.schema_version {
        let schema =
            SchemaProbe::new(Arc::clone(server), config.migrations.settings.table.clone(), range.clone());
        checks.push(Check::new(schema).aspect(Aspect::SchemaIntegrity).internal());
    }
    checks
}

/// What would become a problem: transactions that stay open, transaction ids that run out, a full disk. Nothing here takes the
/// service out.
pub(crate) fn seldom(server: &Arc<Watched>) -> Vec<Check> {
    let transactions = Check::new(TransactionsProbe::new("transactions", Arc::clone(server) as _));
    let wraparound = Check::new(WraparoundProbe::new("wraparound", Arc::clone(server) as _));
    let disk = Check::new(DiskProbe::new("disk", Arc::clone(server) as _));
    let all = [transactions, wraparound, disk].into_iter();
    all.map(|check| check.part_of("postgres").non_critical().internal().interval(SELDOM).timeout(PATIENCE))
        .collect()
}

/// The pool is part of this process: paused, or full for long with callers waiting, is degraded, never down.
pub(crate) fn of_pool(pool: &Pool) -> Check {
    let pool = pool.clone();
    let figures = move || {
        let stats = pool.stats();
        PoolFigures {
            total: stats.total,
            idle: stats.idle,
            in_use: stats.in_use,
            waiting: stats.waiting,
            max: stats.max,
            min: stats.min,
            is_paused: stats.is_paused,
        }
    };
    Check::new(PoolProbe::new("pool", figures)).non_critical().internal()
}
