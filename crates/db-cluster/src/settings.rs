//! What may be decided about a cluster, with defaults and their reasons.

use std::time::Duration;

use db_core::{Cause, Error, Phase, Result, Signal};
use tokio::time::Instant;

/// How servers are watched, and what is still good enough.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The pause between two looks at a server. Default: 500 ms, which finds a new primary in less than a second. While there is
    /// none, and after a missed look, it is a tenth of a second.
    pub look_interval: Duration,
    /// How long a server may take to answer a look. Default: 500 ms. Two missed looks in a row take it out of use.
    pub look_timeout: Duration,
    /// A replica that is further behind takes no reads. Default: 10 s, from the five teams' requirements.
    pub max_lag: Duration,
    /// A replica that has more to replay takes no reads, in bytes. Default: 16 MiB, one segment of the log.
    pub max_lag_bytes: u64,
    /// How long a replica that came back takes less than its share. Default: 10 s, in which its caches fill.
    pub slow_start: Duration,
    /// How long a read with a token waits for a replica to have replayed it before it goes to the primary. Default: 50 ms, some
    /// times what a replica nearby needs.
    pub token_wait: Duration,
    /// How long a token counts. Default: 60 s; at least twice [`Settings::max_lag`], after which all replicas in use have it.
    pub token_validity: Duration,
    /// How long a caller without a deadline waits for a primary, or a read for any server. Default: 5 s.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            look_interval: Duration::from_millis(500),
            look_timeout: Duration::from_millis(500),
            max_lag: Duration::from_secs(10),
            max_lag_bytes: 16 << 20,
            slow_start: Duration::from_secs(10),
            token_wait: Duration::from_millis(50),
            token_validity: Duration::from_secs(60),
            patience: Duration::from_secs(5),
        }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |what: String| {
            let signal = Signal::new(Cause::Misuse, Phase::Connect);
            Err(Error::new(signal, format!("invalid settings of a cluster: {what}")))
        };
        let positive = [
            ("look_interval", self.look_interval),
            ("look_timeout", self.look_timeout),
            ("max_lag", self.max_lag),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| value.is_zero()) {
            return refuse(format!("{name} is zero"));
        }
        if self.token_validity < self.max_lag.saturating_mul(2) {
            let Self { token_validity, max_lag, .. } = self;
            return refuse(format!(
                "token_validity is {token_validity:?}, expected at least twice max_lag, which is {max_lag:?}"
            ));
        }
        Ok(())
    }
}

/// So far from now; further than the clock goes is a year.
pub(crate) fn moment_after(time: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + time.min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |settings: Settings, expect: Option<&str>| {
            let said = settings.validate().err().map(|error| error.to_string());
            let expect = expect.map(|what| format!("invalid settings of a cluster: {what}"));
            assert_eq!(said, expect);
        };
        check(Settings::default(), None);
        check(Settings { look_timeout: Duration::ZERO, ..Settings::default() }, Some("look_timeout is zero"));
        check(
            Settings { max_lag: Duration::from_secs(31), ..Settings::default() },
            Some("token_validity is 60s, expected at least twice max_lag, which is 31s"),
        );
    }
}
