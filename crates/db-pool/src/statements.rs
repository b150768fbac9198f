//! The prepared statements of one connection: bounded, each prepared once however many ask for it, and closed on the server
//! when it makes room for another.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use db_core::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use lru::LruCache;
use tokio_postgres::Statement;
use tokio_postgres::types::Type;

use crate::wire::Effects;

/// What is known of a statement.
#[derive(Clone)]
pub(crate) enum Prepared {
    /// It has a name on the server. Its last copy closes it there.
    Named(Statement),
    /// It is sent as text each time, with these types of its parameters.
    Typed(Arc<[Type]>),
}

/// A statement that is being prepared, for all who wait for it.
pub(crate) type Preparing = Shared<BoxFuture<'static, Result<Prepared, Arc<Error>>>>;

#[derive(Clone)]
enum Slot {
    Ready(Prepared, Effects),
    Preparing(Preparing),
}

/// What was found in the cache.
pub(crate) enum Found {
    Ready(Prepared, Effects),
    Preparing(Preparing),
}

/// The cache.
pub(crate) struct Statements {
    slots: Mutex<LruCache<Box<str>, Slot>>,
    is_off: bool,
}

impl Statements {
    pub(crate) fn new(capacity: usize) -> Self {
        // Without room for any, the one in use still is where others find it.
        let room = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { slots: Mutex::new(LruCache::new(room)), is_off: capacity == 0 }
    }

    /// What is there, or else what `prepare` begins: nobody prepares the same a second time meanwhile.
    pub(crate) fn find_or(
        &self,
        sql: &str,
        prepare: impl FnOnce() -> BoxFuture<'static, Result<Prepared, Arc<Error>>>,
    ) -> Found {
        let mut slots = self.slots();
        match slots.get(sql) {
            Some(Slot::Ready(prepared, effects)) if !self.is_off => {
                return Found::Ready(prepared.clone(), *effects);
            }
            Some(Slot::Preparing(preparing)) => return Found::Preparing(preparing.clone()),
            _ => {}
        }
        let preparing = prepare().shared();
        let evicted = slots.push(sql.into(), Slot::Preparing(preparing.clone()));
        drop(slots);
        // Closing a statement sends something: not under the lock.
        drop(evicted);
        Found::Preparing(preparing)
    }

    /// Whether it need not be prepared.
    pub(crate) fn is_ready(&self, sql: &str) -> bool {
        matches!(self.slots().get(sql), Some(Slot::Ready(..)))
    }

    /// It, if it need not be prepared and has a name.
    pub(crate) fn ready(&self, sql: &str) -> Option<Statement> {
        match self.slots().get(sql) {
            Some(Slot::Ready(Prepared::Named(statement), _)) if !self.is_off => Some(statement.clone()),
            _ => None,
        }
    }

    /// Notes the end of a preparation, unless it was evicted meanwhile.
    pub(crate) fn settle(&self, sql: &str, result: &Result<Prepared, Arc<Error>>) {
        let mut slots = self.slots();
        match result {
            Ok(prepared) => {
                if let Some(slot @ Slot::Preparing(_)) = slots.peek_mut(sql) {
                    *slot = Slot::Ready(prepared.clone(), effects_of(sql));
                }
            }
            Err(_) => drop(slots.pop(sql)),
        }
    }

    /// Forgets a statement, which is prepared anew when it is needed again.
    pub(crate) fn evict(&self, sql: &str) {
        let evicted = self.slots().pop(sql);
        drop(evicted);
    }

    fn slots(&self) -> MutexGuard<'_, LruCache<Box<str>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the text of a statement does to a session without the server's saying so. Better once too often: it costs a round
/// trip when the connection comes back.
pub(crate) fn effects_of(sql: &str) -> Effects {
    let mut effects = Effects::NONE;
    if contains(sql, "set_config") {
        effects = effects.and(Effects::SETTING);
    }
    if contains(sql, "advisory_lock") {
        effects = effects.and(Effects::LOCK);
    }
    effects
}

/// Whether `text` contains `word`, in whatever case.
pub(crate) fn contains(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a single statement changes a setting for its transaction alone.
pub(crate) fn is_set_local(sql: &str) -> bool {
    let sql = sql.trim_start();
    sql.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("set local"))
        && sql.as_bytes().get(9).is_some_and(u8::is_ascii_whitespace)
        && !sql.trim_end_matches([';', ' ', '\n']).contains(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_does_to_a_session_is_read_from_its_text() {
        let check = |sql, expect| assert_eq!(effects_of(sql), expect, "{sql}");
        check("SELECT 1", Effects::NONE);
        check("SELECT Set_Config('role', 'x', false)", Effects::SETTING);
        check("SELECT pg_try_advisory_lock(1)", Effects::LOCK);
        check("", Effects::NONE);
    }

    #[test]
    fn a_preparation_is_shared_until_it_is_settled() {
        let statements = Statements::new(1);
        let typed = || Ok(Prepared::Typed(Vec::new().into()));
        let find = |sql: &str| statements.find_or(sql, || std::future::ready(typed()).boxed());
        assert!(matches!(find("a"), Found::Preparing(_)));
        assert!(matches!(
            statements.find_or("a", || unreachable!("it is being prepared")),
            Found::Preparing(_)
        ));
        statements.settle("a", &typed());
        assert!(matches!(find("a"), Found::Ready(..)));
        // There is room for one.
        assert!(matches!(find("b"), Found::Preparing(_)));
        statements.settle("b", &typed());
        assert!(matches!(find("a"), Found::Preparing(_)));
    }

    #[test]
    fn a_setting_for_one_transaction_is_told_from_others() {
        let check = |sql, expect| assert_eq!(is_set_local(sql), expect, "{sql}");
        check("SET LOCAL app.tenant = '7'", true);
        check(" set local x = 1; ", true);
        check("SET LOCAL x = 1; SET y = 2", false);
        check("SET x = 1", false);
        check("SET local_app.tenant = '7'", false);
        check("SET local.tenant = '7'", false);
        check("", false);
    }
}
