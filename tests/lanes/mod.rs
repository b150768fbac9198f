//! Lanes on a real server: that they are used, that nobody but the clock notices, and what happens when something goes wrong on
//! one. How a statement is learned is tested beside the code.

mod faults;
mod mixed;
mod operations;
mod safe;
mod waiting;

use db_core::{FromRow, Params, Query, without_literals};
use db_pool::{LaneUse, Pool};

use crate::support::eventually;

/// Takes as long as its first parameter says, in seconds, and gives its second.
const SLEEP: &str = "SELECT $2::int8 FROM pg_sleep($1)";

/// What the pool knows of a statement.
fn known(pool: &Pool, sql: &str) -> LaneUse {
    let mut uses = pool.lane_uses();
    uses.retain(|one| one.sql == without_literals(sql));
    uses.pop().unwrap_or_else(|| panic!("{sql} has not run"))
}

/// Runs a statement until it uses lanes.
async fn learn<T: FromRow + Send>(pool: &Pool, sql: &str, params: Params<'_>) {
    eventually("it runs on a lane", async || {
        let before = pool
            .lane_uses()
            .iter()
            .find(|one| one.sql == without_literals(sql))
            .map_or(0, |one| one.on_lanes);
        pool.query::<T>(sql, params).await.expect("well");
        known(pool, sql).on_lanes > before
    })
    .await;
}
