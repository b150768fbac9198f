//! Waiting for a condition, with a limit. Nothing here sleeps for a time that somebody guessed.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks again and again until there is something, and says how long that took.
///
/// # Errors
/// With what a look fails with, and when the limit is over, naming what was waited for.
pub(crate) fn wait_for<T>(
    what: impl Display,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok((found, began.elapsed()));
        }
        if began.elapsed() >= limit {
            bail!("waited {:.1} s for {what}", limit.as_secs_f64());
        }
        sleep(BETWEEN_LOOKS);
    }
}
