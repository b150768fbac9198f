//! The probes that come with the crate. How they are run, and what follows from what they find, is not theirs.

mod disk;
mod function;
mod lag;
mod ping;
#[cfg(feature = "redis")]
mod ping_redis;
mod pool;
mod role;
mod schema;
mod transactions;
mod wraparound;

pub use disk::DiskProbe;
pub use function::{AsyncProbe, FnProbe};
pub use lag::LagProbe;
pub use ping::{ConnectionProbe, ExecutorProbe};
#[cfg(feature = "redis")]
pub use ping_redis::RedisProbe;
pub use pool::{PoolFigures, PoolProbe};
pub use role::RoleProbe;
pub use schema::{IntegrityProbe, MigrationsProbe};
pub use transactions::TransactionsProbe;
pub use wraparound::WraparoundProbe;

use std::time::Duration;

/// Milliseconds with a resolution of microseconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Seconds with a resolution of milliseconds.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
