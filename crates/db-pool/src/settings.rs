//! The pool's settings, each with its default and the reason for it. Plain values: nothing is read from outside.

use std::time::Duration;

use tokio::time::Instant;

use crate::Commenter;
use crate::lanes::LaneSettings;

/// Settings of a [`Pool`](crate::Pool). [`Default`] is the preset `standard`; [`Settings::validate`] checks the minima.
///
/// Those of the session (time-outs of the server, `search_path`, `read_only`) give way to what the connection string says
/// in `options`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Name of the pool in events, errors and statistics. Default `primary`.
    pub name: String,
    /// The most connections. Default 20, at least 1: a fifth of the 100 that a server allows by default, so that several
    /// services fit. What the server allows (`max_connections` less those that it reserves) lowers it further: a pool must
    /// not be able to use up the server.
    pub max: u32,
    /// The fewest connections that are kept open. Default 2, so that a quiet service answers its first request
    /// without connecting. At least 0, at most `max`.
    pub min: u32,
    /// How long a caller waits for a connection, everything included. Default 2 s, above zero: later the request behind
    /// it has usually been given up.
    pub acquire_timeout: Duration,
    /// How long opening one connection may take: name resolution, TCP, TLS and authentication together; cleaning one may
    /// take as long. Default 2 s, above zero: a server that is well takes milliseconds, and a silent one must not keep
    /// others from being tried.
    pub connect_timeout: Duration,
    /// How transient failures to connect are retried while a caller waits.
    pub connect_retry: ConnectRetry,
    /// An idle connection above `min` is closed after this time. Default 30 s, above zero: what a peak has opened does not
    /// burden the server for long.
    pub idle_timeout: Duration,
    /// A connection is replaced at this age, give or take a tenth, so that connections opened together do not all go
    /// at once. Default 30 min, above zero: what a session gathers on the server is freed, and after a failover or a
    /// change of DNS connections find their new place.
    pub max_lifetime: Duration,
    /// A connection is replaced after this many uses, which bounds what a session can leak on the server. Default
    /// 7,500, at least 1: seldom enough that the cost of opening does not show.
    pub max_uses: u32,
    /// A connection idle for longer than this is checked by one round trip before it is handed out. Default 500 ms: a
    /// busy pool checks nothing, a quiet one never hands out a dead connection. Zero checks each time.
    pub check_after: Duration,
    /// How long that check may take. Default 1 s, above zero: half of the acquire time-out, so that another connection can
    /// still be found.
    pub check_timeout: Duration,
    /// A connection idle for longer than this is asked for a sign of life in the background, so that firewalls do not
    /// forget it and a dead one is found before a caller does. Default 60 s, since firewalls forget after minutes; zero
    /// turns it off.
    pub keep_alive: Duration,
    /// The most callers that wait for a place; the next one is refused at once. Default 200, ten times `max`: who stands
    /// further back would mostly run out of time. Zero lets nobody wait.
    pub queue_limit: usize,
    /// A caller who holds a connection for longer is reported with the place where it was acquired. Default 30 s: six times
    /// what a statement may take. Zero turns it off.
    pub leak_warning: Duration,
    /// `statement_timeout` of every session; zero turns it off. Default 5 s: nobody waits for a request that long. A server
    /// that does not keep to it is not waited for: the call ends after a twentieth more, at least half a second, and the
    /// statement is cancelled.
    pub statement_timeout: Duration,
    /// `lock_timeout` of every session; zero turns it off, the default: the statement's time-out bounds that wait too.
    pub lock_timeout: Duration,
    /// `idle_in_transaction_session_timeout` of every session; zero turns it off. Default 30 s: such a session holds its
    /// locks and keeps vacuum from its work.
    pub idle_in_transaction_timeout: Duration,
    /// A statement that takes longer is reported as slow. Default 1 s; zero turns it off.
    pub slow_query: Duration,
    /// `application_name` of every session, unless the connection string sets one. Default `db`. Without a NUL; the server
    /// cuts it after 63 bytes.
    pub application_name: String,
    /// `search_path` of every session. Default: what the role or the database has. Without a NUL.
    pub search_path: Option<String>,
    /// Whether sessions refuse to write (`default_transaction_read_only`). Default no. A guard against mistakes, not against
    /// intent: a statement can turn it off.
    pub read_only: bool,
    /// Prepared statements kept per connection; the one unused for longest is closed on the server. Default 256: more than
    /// most services have, and a bound for those that build their SQL. Zero prepares each time.
    pub statement_cache: usize,
    /// What is undone when a connection comes back. Default [`Reset::Light`]: nothing is paid for what was not done.
    pub reset: Reset,
    /// What stands between this pool and the server. Default [`Pooler::None`].
    pub pooler: Pooler,
    /// How single statements share connections. Off behind [`Pooler::Transaction`] and with [`Reset::Discard`].
    pub lanes: LaneSettings,
    /// What statements that are sent as text say of whoever sends them, in a comment: all behind [`Pooler::Transaction`], else
    /// those of [`batch_execute`](db_core::Executor::batch_execute). Default nothing. Events, logs and traces have the statement without it.
    pub commenter: Option<Commenter>,
}

/// What is undone on a session when its connection comes back. An open transaction is rolled back and a running
/// statement is cancelled in any case. Complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// Nothing more: changed settings stay for the next user.
    None,
    /// What was seen to be done: changed settings and roles (`SET`, `set_config`), `LISTEN`, cursors, advisory locks.
    /// Costs a round trip only then. Temporary tables stay, and what a function does inside.
    #[default]
    Light,
    /// Everything that `DISCARD ALL` undoes, also temporary tables and what functions did, with a round trip for each use.
    /// Prepared statements stay: they are the pool's own.
    Discard,
}

/// What stands between a pool and its server. Complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing. Settings of the session travel in the startup message. If they are refused there, as PgBouncer does, they
    /// are set by `SET`.
    #[default]
    None,
    /// A pooler that keeps a server's session for each of ours: settings by `SET`.
    Session,
    /// A pooler that gives each transaction another session, such as PgBouncer with `pool_mode = transaction`: no named
    /// statements, and settings by `SET LOCAL` in each transaction. A single statement runs in a transaction of its own,
    /// in one round trip; `batch_execute` does not, and runs without these settings. Whatever belongs to a session (`LISTEN`,
    /// `SET`, temporary tables) does not work there.
    Transaction,
}

/// How transient failures to connect (refused, reset, starting up, too many connections) are retried. Attempts of one
/// pool are paced together, however many callers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectRetry {
    /// How many such failures a caller sits through while it waits; the next one is its error. Default 3, at least 0.
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
    /// A text holds a NUL, which the protocol cannot carry.
    #[error("{0} must not hold a NUL")]
    Nul(&'static str),
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
        if let Some(field) = self.lanes.zero() {
            return Err(InvalidSettings::Zero(field));
        }
        if self.min > self.max {
            return Err(InvalidSettings::MinAboveMax { min: self.min, max: self.max });
        }
        let texts = [
            ("application_name", self.application_name.as_str()),
            ("search_path", self.search_path.as_deref().unwrap_or_default()),
        ];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.contains('\0')) {
            return Err(InvalidSettings::Nul(field));
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
            keep_alive: Duration::from_secs(60),
            queue_limit: 200,
            leak_warning: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::ZERO,
            idle_in_transaction_timeout: Duration::from_secs(30),
            slow_query: Duration::from_secs(1),
            application_name: "db".to_owned(),
            search_path: None,
            read_only: false,
            statement_cache: 256,
            reset: Reset::default(),
            pooler: Pooler::default(),
            lanes: LaneSettings::default(),
            commenter: None,
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
        check(|s| s.search_path = Some("a\0b".to_owned()), "search_path must not hold a NUL");
        check(|s| s.application_name = "\0".to_owned(), "application_name must not hold a NUL");
    }
}
