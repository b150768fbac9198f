//! Why an attempt to connect failed, and what may still be tried. It decides nothing about trying the same again: the error's
//! own advice does.

use std::io;

use db_core::{Action, Cause, Error, Operation, Phase, Signal};

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) stage: Stage,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What we were given cannot be used: the same everywhere.
    Setup,
    /// The server was not reached.
    Reach,
    /// It was reached, but there is no TLS session.
    Handshake,
    /// It was asked for a session.
    Startup,
    /// There was a session, but not the kind that was asked for.
    Unsuitable,
}

impl Failed {
    pub(super) fn new(stage: Stage, cause: Cause, message: impl Into<String>) -> Self {
        Self { error: Error::new(Signal::new(cause, Phase::Connect), message), stage }
    }

    /// What was asked for cannot work.
    pub(super) fn misuse(stage: Stage, message: impl Into<String>) -> Self {
        Self::new(stage, Cause::Misuse, message)
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Stage::Reach, Cause::Unreachable, message)
    }

    pub(super) fn io(error: &io::Error) -> Self {
        Self::unreachable(error.to_string())
    }

    /// Whether another server may do better. As in libpq a server's word about who we are is final, and so is a
    /// certificate: the next host would only hide what is wrong.
    pub(super) fn may_try_elsewhere(&self) -> bool {
        match self.stage {
            Stage::Setup => false,
            Stage::Reach | Stage::Unsuitable => true,
            Stage::Handshake | Stage::Startup => {
                matches!(self.error.advice().on(Operation::Read), Action::Retry | Action::RetrySlowly)
            }
        }
    }

    /// Whether the same server may do better when the session is encrypted, or when it is not.
    ///
    /// libpq tries again whatever the server says. Here not where encryption has no part in it: a wrong password counts
    /// twice otherwise, and perhaps travels in the clear; a busy server is asked twice as much.
    pub(super) fn may_try_other_encryption(&self) -> bool {
        const WITHOUT_REGARD_TO_IT: [&str; 7] =
            ["28P01", "3D000", "53300", "57P01", "57P02", "57P03", "42501"];
        match (self.stage, self.error.sqlstate()) {
            (Stage::Handshake, _) => true,
            (Stage::Startup, Some(sqlstate)) => !WITHOUT_REGARD_TO_IT.contains(&sqlstate.as_str()),
            _ => false,
        }
    }

    /// Whether the server refuses who asks, or the way he asks.
    pub(super) fn is_refusal(&self) -> bool {
        self.error.sqlstate().is_some_and(|sqlstate| sqlstate.as_str() == "28000")
    }

    /// One failure for many, each with the name of what was tried. What may pass comes last and gives the whole its kind.
    /// `None` for none.
    pub(super) fn together(mut failures: Vec<(String, Self)>) -> Option<Self> {
        let passing = failures.iter().rposition(|(_, failed)| {
            matches!(failed.error.advice().on(Operation::Read), Action::Retry | Action::RetrySlowly)
        });
        let (name, last) = match passing {
            Some(index) => failures.remove(index),
            None => failures.pop()?,
        };
        if failures.is_empty() {
            return Some(last);
        }
        let others: Vec<_> =
            failures.iter().map(|(name, failed)| format!("{name}: {}", failed.error)).collect();
        let error = last.error.context(format!("{}; {name}", others.join("; ")));
        Some(Self { error, stage: last.stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_stays_what_it_is() {
        let one = vec![("a:1".to_owned(), Failed::unreachable("refused"))];
        assert_eq!(Failed::together(one).expect("one").error.to_string(), "refused");
        assert!(Failed::together(Vec::new()).is_none());
    }

    #[test]
    fn what_may_pass_gives_many_their_kind() {
        let failures = vec![
            ("a:1".to_owned(), Failed::unreachable("refused")),
            ("b:2".to_owned(), Failed::misuse(Stage::Reach, "no such host")),
        ];
        let all = Failed::together(failures).expect("two");
        assert_eq!(all.error.to_string(), "b:2: no such host; a:1: refused");
        assert_eq!(all.error.advice().on(Operation::Read), Action::Retry);
    }
}
