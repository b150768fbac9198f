//! The variables that say how failed calls are tried again.

use db_retry::{Jitter, Policy, Scope};

use super::Preset;
use super::read::{Reader, from};

impl Reader<'_> {
    pub(super) fn retry(&mut self, preset: Preset) -> Policy {
        let (base, standard) = (preset.retry(), Preset::Standard.retry());
        let mut policy = base;
        let is_same = base.max_retries == standard.max_retries;
        policy.max_retries = self.number("DB_MAX_RETRIES", base.max_retries, 0, 100, from(is_same));
        let is_same = base.max_serialization_retries == standard.max_serialization_retries;
        policy.max_serialization_retries = self.number(
            "DB_MAX_SERIALIZATION_RETRIES",
            base.max_serialization_retries,
            0,
            100,
            from(is_same),
        );
        let is_same = base.initial_delay == standard.initial_delay;
        policy.initial_delay = self.millis("DB_RETRY_INITIAL_DELAY_MS", base.initial_delay, 1, from(is_same));
        policy.factor =
            self.number("DB_RETRY_FACTOR", base.factor, 1.0, 10.0, from(base.factor == standard.factor));
        let is_same = base.max_delay == standard.max_delay;
        // A longest pause that nobody asked for gives way to the first one that somebody did.
        let longest = base.max_delay.max(policy.initial_delay);
        policy.max_delay = self.millis("DB_RETRY_MAX_DELAY_MS", longest, 1, from(is_same));
        let jitters = [("none", Jitter::None), ("full", Jitter::Full), ("equal", Jitter::Equal)];
        policy.jitter =
            self.word_from("DB_RETRY_JITTER", base.jitter, &jitters, from(base.jitter == standard.jitter));
        let scopes = [
            ("all", Scope::All),
            ("connection", Scope::Connection),
            ("unavailable", Scope::Codes(Policy::UNAVAILABLE)),
        ];
        policy.scope = self.word_from("DB_RETRY_ON", base.scope, &scopes, from(base.scope == standard.scope));
        if policy.max_delay < policy.initial_delay {
            let (longest, first) = (policy.max_delay.as_millis(), policy.initial_delay.as_millis());
            self.errors.push(format!(
                "DB_RETRY_MAX_DELAY_MS={longest}: expected at least the first pause, {first} (DB_RETRY_INITIAL_DELAY_MS)"
            ));
        }
        // The pool tries again to connect while a caller waits; more of that above it would be too much.
        policy.retries_connecting = false;
        policy
    }
}
