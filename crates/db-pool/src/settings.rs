//! The pool's settings, each with its default and the reason for it. Plain values: nothing is read from outside.

use std::time::Duration;

use tokio::time::Instant;

/// Settings of a [`Pool`](crate::Pool). [`Default`] is the preset `standard`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Name of the pool in events, errors and statistics. Default `primary`.
    pub name: String,
    /// The most connections. Default 20, at least 1. What the server allows (`max_connections` less those that it
    /// reserves) lowers it further: a pool must not be able to use up the server.
    pub max: u32,
    /// The fewest connections that are kept open. Default 2, so that a quiet service answers its first request
    /// without connecting. At most `max`.
    pub min: u32,
    /// How long a caller waits for a connection, everything included. Default 2 s: later the request behind it has
    /// usually been given up.
    pub acquire_timeout: Duration,
    /// How long opening one connection may take: name resolution, TCP and authentication together. Default 2 s.
    pub connect_timeout: Duration,
    /// How transient failures to connect are retried while a caller waits.
    pub connect_retry: ConnectRetry,
    /// An idle connection above `min` is closed after this time. Default 30 s.
    pub idle_timeout: Duration,
    /// A connection is replaced at this age, give or take a tenth, so that connections opened together do not all go
    /// at once. Default 30 min.
    pub max_lifetime: Duration,
    /// A connection is replaced after this many uses, which bounds what a session can leak on the server. Default
    /// 7,500.
    pub max_uses: u32,
    /// A connection idle for longer than this is checked by one round trip before it is handed out. Default 500 ms: a
    /// busy pool checks nothing, a quiet one never hands out a dead connection.
    pub check_after: Duration,
    /// How long that check may take. Default 1 s.
    pub check_timeout: Duration,
    /// The most callers that wait; the next one is refused at once. Default 200: ten times `max`.
    pub queue_limit: usize,
    /// `statement_timeout` of every session; zero turns it off. Default 5 s.
    pub statement_timeout: Duration,
    /// `idle_in_transaction_session_timeout` of every session; zero turns it off. Default 30 s.
    pub idle_in_transaction_timeout: Duration,
    /// `application_name` of every session, unless the connection string sets one. Default `db`.
    pub application_name: String,
}

/// How transient failures to connect (refused, reset, starting up, too many connections) are retried. Attempts of one
/// pool are paced together, however many callers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectRetry {
    /// How many such failures a caller sits through while it waits; the next one is its error. Default 3.
    pub max_retries: usize,
    /// The first pause; each next one is twice as long, with jitter. Default 100 ms.
    pub initial_delay: Duration,
    /// The longest pause. Default 5 s; never more than half of the acquire time-out.
    pub max_delay: Duration,
}

/// Settings that contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// A field that must be positive is zero.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// The minimum is above the maximum.
    #[error("min ({min}) must not be above max ({max})")]
    MinAboveMax {
        /// The minimum given.
        min: u32,
        /// The maximum given.
        max: u32,
    },
}

impl Settings {
    /// Checks the fields against each other.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<(), InvalidSettings> {
        let zero = [
            ("max", self.max == 0),
            ("acquire_timeout", self.acquire_timeout.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("max_lifetime", self.max_lifetime.is_zero()),
            ("max_uses", self.max_uses == 0),
            ("check_timeout", self.check_timeout.is_zero()),
        ];
        if let Some((field, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidSettings::Zero(field));
        }
        if self.min > self.max {
            return Err(InvalidSettings::MinAboveMax { min: self.min, max: self.max });
        }
        Ok(())
    }
}

/// A moment that far from now; a time too long to count is for ever, which a century is.
pub(crate) fn moment_after(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + duration.min(CENTURY)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "primary".to_owned(),
            max: 20,
            min: 2,
            acquire_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            connect_retry: ConnectRetry::default(),
            idle_timeout: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(30 * 60),
            max_uses: 7_500,
            check_after: Duration::from_millis(500),
            check_timeout: Duration::from_secs(1),
            queue_limit: 200,
            statement_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(30),
            application_name: "db".to_owned(),
        }
    }
}

impl Default for ConnectRetry {
    fn default() -> Self {
        Self { max_retries: 3, initial_delay: Duration::from_millis(100), max_delay: Duration::from_secs(5) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |change: fn(&mut Settings), expect: &str| {
            let mut settings = Settings::default();
            change(&mut settings);
            let error = settings.validate().expect_err(expect);
            assert_eq!(error.to_string(), expect);
        };
        check(|s| s.max = 0, "max must be greater than zero");
        check(|s| s.min = 21, "min (21) must not be above max (20)");
        check(|s| s.acquire_timeout = Duration::ZERO, "acquire_timeout must be greater than zero");
        check(|s| s.max_uses = 0, "max_uses must be greater than zero");
    }
}
