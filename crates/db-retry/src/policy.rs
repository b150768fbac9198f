//! How often, how long apart, and after which failures: plain values. Whether a failure may be retried at all is the
//! classification's word; a policy can only narrow it.

use std::fmt;
use std::time::Duration;

use db_core::SqlState;

/// How a failed call is tried again.
///
/// ```
/// use std::time::Duration;
///
/// let mut policy = db_retry::Policy::default();
/// policy.max_retries = 5;
/// policy.max_delay = Duration::from_secs(2);
/// policy.validate().expect("usable");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How often a call is tried again, after the first attempt. Default 3: with pauses that double, a failure that
    /// outlasts the third is an outage, which more attempts only feed. 0 turns retries off.
    pub max_retries: u32,
    /// How often a transaction is run again that lost a race (serialization failure, deadlock, lock time-out). Default 5:
    /// under contention each attempt wins with a fair chance, and the server is well. 0 turns these off.
    pub max_serialization_retries: u32,
    /// The first pause. Default 100 ms.
    pub initial_delay: Duration,
    /// Each pause is this many times the one before. Default 2; below 1 counts as 1.
    pub factor: f32,
    /// The longest pause. Default 5 s.
    pub max_delay: Duration,
    /// How pauses are spread. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// Which of the failures that may be retried are. Default [`Scope::All`].
    pub scope: Scope,
    /// Whether failures to get a connection are tried again. Default yes; no over a pool that waits for its server by
    /// itself, since two layers with three retries each ask a faltering server sixteen times.
    pub retries_connecting: bool,
}

/// How pauses are spread, so that callers who failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// The pause as computed.
    None,
    /// Anything from nothing to the pause. Spreads best.
    Full,
    /// Half of the pause, and anything up to the other half. What has too many connections is given at least that.
    Equal,
}

/// Which of the failures that may be retried are. A scope never makes a failure retryable that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All.
    All,
    /// Failures of [`Kind::Connection`](db_core::Kind::Connection): never an error of the statement itself, nor a lost race.
    Connection,
    /// These codes of the server, and failures of the connection that carry none: a refused or broken connection is
    /// reported by the socket, and has no code.
    Codes(&'static [SqlState]),
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPolicy {
    /// The field of [`Policy`].
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            max_serialization_retries: 5,
            initial_delay: Duration::from_millis(100),
            factor: 2.0,
            max_delay: Duration::from_secs(5),
            jitter: Jitter::Full,
            scope: Scope::All,
            retries_connecting: true,
        }
    }
}

impl Policy {
    /// The codes of [`Policy::unavailable_server`].
    pub const UNAVAILABLE: &'static [SqlState] = &[
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_DOES_NOT_EXIST,
        SqlState::CONNECTION_FAILURE,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ];

    /// Nothing is tried again.
    #[must_use]
    pub fn never() -> Self {
        Self { max_retries: 0, max_serialization_retries: 0, ..Self::default() }
    }

    /// Connection failures only, after exactly 100, 200 and 400 ms (requirement B5).
    #[must_use]
    pub fn connection_failures() -> Self {
        Self { jitter: Jitter::None, scope: Scope::Connection, ..Self::default() }
    }

    /// The codes of a server that cannot serve now, from 100 ms, doubling, at most 5 s, with jitter (requirement E5). All
    /// other codes go to the caller at once, those of lost races included.
    #[must_use]
    pub fn unavailable_server() -> Self {
        Self { scope: Scope::Codes(Self::UNAVAILABLE), ..Self::default() }
    }

    /// For callers who can wait: from 1 s, doubling, at most 10 s (requirement D7). A reset connection, an unknown host and
    /// a time-out while connecting are retried.
    #[must_use]
    pub fn patient() -> Self {
        Self { initial_delay: Duration::from_secs(1), max_delay: Duration::from_secs(10), ..Self::default() }
    }

    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// The first field that does not, and why.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        // A field that is added must be thought of here.
        let Self {
            max_retries: _,
            max_serialization_retries: _,
            initial_delay,
            factor,
            max_delay,
            jitter: _,
            scope,
            retries_connecting: _,
        } = *self;
        let wrong = |field, problem| Err(InvalidPolicy { field, problem });
        if !factor.is_finite() || factor < 1.0 {
            return wrong("factor", format!("{factor} is not a number of at least 1"));
        }
        if max_delay < initial_delay {
            return wrong("max_delay", format!("{max_delay:?} is below initial_delay, {initial_delay:?}"));
        }
        if initial_delay.is_zero() && !max_delay.is_zero() {
            return wrong("initial_delay", "0 stays 0 whatever it is multiplied by".to_owned());
        }
        if scope == Scope::Codes(&[]) {
            return wrong("scope", "an empty list of codes".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry policy: {}: {}", self.field, self.problem)
    }
}

impl std::error::Error for InvalidPolicy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Policy), expect: Result<(), &str>) {
        let mut policy = Policy::default();
        change(&mut policy);
        let said = policy.validate().map_err(|error| error.to_string());
        assert_eq!(said.as_ref().map_err(String::as_str), expect.as_ref().map_err(|text| *text));
    }

    #[test]
    fn an_unusable_policy_names_its_field() {
        check(|_| (), Ok(()));
        let factor =
            |value: &'static str| format!("retry policy: factor: {value} is not a number of at least 1");
        check(|policy| policy.factor = 0.0, Err(&factor("0")));
        check(|policy| policy.factor = 0.9, Err(&factor("0.9")));
        check(|policy| policy.factor = f32::NAN, Err(&factor("NaN")));
        check(|policy| policy.factor = f32::INFINITY, Err(&factor("inf")));
        check(
            |policy| policy.max_delay = Duration::from_millis(50),
            Err("retry policy: max_delay: 50ms is below initial_delay, 100ms"),
        );
        check(
            |policy| policy.initial_delay = Duration::ZERO,
            Err("retry policy: initial_delay: 0 stays 0 whatever it is multiplied by"),
        );
        check(|policy| (policy.initial_delay, policy.max_delay) = Default::default(), Ok(()));
        check(|policy| policy.scope = Scope::Codes(&[]), Err("retry policy: scope: an empty list of codes"));
    }

    #[test]
    fn the_presets_are_usable() {
        let presets =
            [Policy::never(), Policy::connection_failures(), Policy::unavailable_server(), Policy::patient()];
        for preset in presets {
            assert_eq!(preset.validate(), Ok(()), "{preset:?}");
        }
    }

    /// E5: exactly these codes.
    #[test]
    fn the_codes_of_an_unavailable_server() {
        let codes: Vec<_> = Policy::UNAVAILABLE.iter().map(SqlState::as_str).collect();
        assert_eq!(codes, ["57P03", "53300", "08000", "08003", "08006", "57P01", "57P02"]);
    }
}
