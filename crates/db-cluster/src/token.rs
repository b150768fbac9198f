//! What a caller gets after a write, so that a later read sees it, in another process as well. It says what must have been
//! replayed; where that is so is not known here.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use db_core::{Cause, Error, Phase, Query, Result, Signal};
use jiff::Timestamp;
use serde::Serialize;

use crate::Lsn;
use crate::sighting::{Role, Sighting};

/// Everything that was committed when it was made.
///
/// As text it has some fifty letters, digits and hyphens, fit for a header, a cookie or a URL. It holds no secret. Whoever
/// makes one up can send his reads to the primary, or have them wait for a later history until their deadline.
///
/// ```
/// use db_cluster::ConsistencyToken;
///
/// let text = "v1-6b017d2b6f5a0e31-1-5000148-6abc0f40";
/// let token: ConsistencyToken = text.parse()?;
/// assert_eq!(token.timeline, 1);
/// assert_eq!(token.to_string(), text);
/// assert!("v1-6b017d2b".parse::<ConsistencyToken>().is_err());
/// # Ok::<(), db_cluster::TokenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConsistencyToken {
    /// Which cluster: the system identifier that all its servers share.
    pub system: u64,
    /// The history that was written to. Each promotion begins a new one.
    pub timeline: u32,
    /// What must have been replayed.
    pub lsn: Lsn,
    /// Until when it counts, in whole seconds, by the clocks of this process and of those that it goes to. After that every
    /// replica in use has replayed it.
    pub expires: Timestamp,
}

/// The text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Made by a version of this crate that writes them differently.
    #[error("consistency token of another form than v1")]
    Form,
    /// Cut short, or never one.
    #[error("not a consistency token")]
    Malformed,
}

const FORM: &str = "v1";

/// A token is looked at no further than this.
const LONGEST: usize = 80;

impl ConsistencyToken {
    pub(crate) fn new(system: u64, timeline: u32, lsn: Lsn, validity: Duration) -> Self {
        let now = Timestamp::now().as_second();
        let seconds = i64::try_from(validity.as_secs()).unwrap_or(i64::MAX);
        let expires = Timestamp::from_second(now.saturating_add(seconds)).unwrap_or(Timestamp::MAX);
        Self { system, timeline, lsn, expires }
    }

    /// A token for everything that was committed up to now, by anybody, on the primary that `on` is connected to. To be asked for
    /// after the COMMIT, and to count for `validity`, in whole seconds.
    ///
    /// # Errors
    /// When the server is no primary, and when it does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future loses the token and nothing else.
    pub async fn ask<E: Query>(on: &E, validity: Duration) -> Result<Self> {
        let Sighting { system, timeline, inserted, role, .. } = Sighting::ask(on).await?;
        if role != Role::Primary {
            let signal = Signal::new(Cause::Misuse, Phase::Execute);
            return Err(Error::new(signal, "the server is no primary, so nothing was committed there"));
        }
        Ok(Self::new(system, timeline, inserted, validity))
    }

    /// Whether it counts no more.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        Timestamp::now() >= self.expires
    }

    /// One that asks for what both ask for, as far as they still do. Of different timelines it is the later one, of different
    /// clusters the one that counts for longer, since nothing has both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.is_expired() {
            return self;
        }
        if self.system != other.system {
            return if self.expires >= other.expires { self } else { other };
        }
        match self.timeline.cmp(&other.timeline) {
            _ if self.is_expired() => other,
            Ordering::Less => other,
            Ordering::Greater => self,
            Ordering::Equal => {
                Self { lsn: self.lsn.max(other.lsn), expires: self.expires.max(other.expires), ..self }
            }
        }
    }
}

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, timeline, lsn, expires } = self;
        write!(f, "{FORM}-{system:x}-{timeline:x}-{:x}-{:x}", lsn.bytes(), expires.as_second())
    }
}

impl FromStr for ConsistencyToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let mut parts = text.split('-');
        match parts.next() {
            Some(FORM) => {}
            Some(form) if is_form(form) => return Err(TokenError::Form),
            _ => return Err(TokenError::Malformed),
        }
        let mut number = || parts.next().and_then(hex).ok_or(TokenError::Malformed);
        let (system, timeline, lsn, expires) = (number()?, number()?, number()?, number()?);
        if parts.next().is_some() {
            return Err(TokenError::Malformed);
        }
        let expires = i64::try_from(expires).ok().and_then(|second| Timestamp::from_second(second).ok());
        Ok(Self {
            system,
            timeline: u32::try_from(timeline).map_err(|_| TokenError::Malformed)?,
            lsn: Lsn::new(lsn),
            expires: expires.ok_or(TokenError::Malformed)?,
        })
    }
}

fn is_form(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Only as it is written: no sign, no capital.
fn hex(text: &str) -> Option<u64> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u64::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(timeline: u32, lsn: u64) -> ConsistencyToken {
        ConsistencyToken::new(7_710_665_147_965_683_377, timeline, Lsn::new(lsn), Duration::from_secs(60))
    }

    #[test]
    fn it_survives_as_text() {
        for token in [token(1, 0), token(u32::MAX, u64::MAX), token(3, 0x500_0148)] {
            let text = token.to_string();
            assert_eq!(text.parse(), Ok(token), "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let check = |text: &str, expect: TokenError| {
            assert_eq!(text.parse::<ConsistencyToken>(), Err(expect), "{text}");
        };
        check("", TokenError::Malformed);
        check("v1", TokenError::Malformed);
        check("v1-1-1-1", TokenError::Malformed);
        check("v1-1-1-1-1-1", TokenError::Malformed);
        check("v1-1-1--1", TokenError::Malformed);
        check("v1-1-+1-1-1", TokenError::Malformed);
        check("v1-1-A-1-1", TokenError::Malformed);
        check("v1-1-100000000-1-1", TokenError::Malformed);
        check("v1-1-1-1-ffffffffffffffff", TokenError::Malformed);
        check(&format!("v1-1-1-1-{}", "0".repeat(100)), TokenError::Malformed);
        check("v2-1-1-1-1", TokenError::Form);
        check("bearer-1", TokenError::Malformed);
    }

    #[test]
    fn the_later_of_two_asks_for_more() {
        assert_eq!(token(1, 5).max(token(1, 6)).lsn, Lsn::new(6));
        assert_eq!(token(1, 6).max(token(1, 5)).lsn, Lsn::new(6));
        assert_eq!(token(2, 5).max(token(1, 9)).timeline, 2);
        let short = ConsistencyToken { lsn: Lsn::new(7), expires: Timestamp::UNIX_EPOCH, ..token(1, 1) };
        assert_eq!((short.max(token(1, 5)).lsn, token(1, 5).max(short).lsn), (Lsn::new(5), Lsn::new(5)));
        let later = ConsistencyToken { expires: Timestamp::MAX, ..token(1, 5) };
        let both = token(1, 6).max(later);
        assert_eq!((both.lsn, both.expires), (Lsn::new(6), Timestamp::MAX));
        let foreign = ConsistencyToken { system: 1, ..token(9, 9) };
        assert_eq!(token(1, 5).max(foreign).system, token(1, 5).system);
        let short = ConsistencyToken { expires: Timestamp::UNIX_EPOCH, ..token(1, 5) };
        assert_eq!((foreign.max(short).system, short.max(foreign).system), (1, 1));
    }

    #[test]
    fn it_expires() {
        assert!(!token(1, 1).is_expired());
        let at_once = ConsistencyToken::new(1, 1, Lsn::new(1), Duration::ZERO);
        assert!(at_once.is_expired());
        assert!(!ConsistencyToken::new(1, 1, Lsn::new(1), Duration::MAX).is_expired());
    }
}
