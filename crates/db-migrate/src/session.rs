//! The session that migrations run in: its limits, and its settings, which every file finds as they were.

use std::time::Duration;

use db_core::Executor;
use tokio_postgres::Client;

use crate::history::literal;
use crate::transaction::send;
use crate::{Directives, Settings, ask};

/// The limits of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) lock_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// Known from PostgreSQL 17 on.
    has_transaction_timeout: bool,
    /// What the session has anyhow, for the transaction that is opened in it.
    in_force: InForce,
}

/// What a session has already, so that it need not be set again. Nothing, when it is not known which session it will be.
#[derive(Clone, Copy, Debug, Default)]
struct InForce {
    /// Statements are told apart under `standard_conforming_strings`, and nothing ends a transaction for being idle or long.
    is_plain: bool,
    has_no_lock_timeout: bool,
    has_no_statement_timeout: bool,
}

impl Limits {
    pub(crate) fn new(directives: &Directives, settings: &Settings, session: &SessionState) -> Self {
        Self {
            has_transaction_timeout: session.has_transaction_timeout,
            in_force: session.in_force,
            lock_timeout: directives.lock_timeout.unwrap_or(settings.lock_timeout),
            statement_timeout: directives.statement_timeout.unwrap_or(settings.statement_timeout),
        }
    }

    /// For a transaction that is opened in the session as it was found, where most of it holds already.
    pub(crate) fn set_local_here(&self) -> String {
        self.sql("SET LOCAL", self.in_force)
    }

    /// For the transaction that is open, in whichever session.
    pub(crate) fn set_local(&self) -> String {
        self.sql("SET LOCAL", InForce::default())
    }

    /// For the session.
    pub(crate) fn set(&self) -> String {
        self.sql("SET", InForce::default())
    }

    fn sql(&self, set: &str, in_force: InForce) -> String {
        let mut settings = Vec::new();
        if !in_force.is_plain {
            settings.extend([("standard_conforming_strings", 1), ("idle_in_transaction_session_timeout", 0)]);
            settings.extend(self.has_transaction_timeout.then_some(("transaction_timeout", 0)));
        }
        let (lock, statement) = (as_setting(self.lock_timeout), as_setting(self.statement_timeout));
        if !(in_force.has_no_lock_timeout && lock == 0) {
            settings.push(("lock_timeout", lock));
        }
        if !(in_force.has_no_statement_timeout && statement == 0) {
            settings.push(("statement_timeout", statement));
        }
        settings.iter().map(|(name, value)| format!("{set} {name} = {value}; ")).collect()
    }
}

/// Milliseconds, as the server counts them; only a zero becomes zero, which is no limit.
pub(crate) fn as_setting(limit: Duration) -> i32 {
    let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    if limit.is_zero() { 0 } else { millis.max(1) }
}

/// What the session had set: a script may SET what it likes, and dumps made by `pg_dump` do. Temporary tables and cursors
/// that a script leaves open go as well, unless the session had some before.
#[derive(Clone, Debug)]
pub(crate) struct SessionState {
    restore: String,
    identity: String,
    has_transaction_timeout: bool,
    in_force: InForce,
}

impl SessionState {
    /// What is set for the transaction alone counts as the session's: in one, ask before the limits are set.
    pub(crate) async fn capture(client: &Client) -> db_core::Result<Self> {
        // Those of the transaction are not the session's, and some of them cannot be set any more once it has begun.
        let settings =
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name NOT IN
                        ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable')";
        let settings: Vec<(String, String)> = ask::all(client, settings).await?;
        let others =
            "SELECT pg_catalog.current_setting('session_authorization'), pg_catalog.current_setting('role'),
                    pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL,
                    coalesce((SELECT usename = session_user FROM pg_catalog.pg_stat_activity
                              WHERE pid = pg_catalog.pg_backend_pid()), false),
                    pg_catalog.current_setting('standard_conforming_strings') = 'on'
                        AND pg_catalog.current_setting('idle_in_transaction_session_timeout') = '0'
                        AND coalesce(pg_catalog.current_setting('transaction_timeout', true), '0') = '0',
                    pg_catalog.current_setting('lock_timeout') = '0',
                    pg_catalog.current_setting('statement_timeout') = '0'";
        type Others = (String, String, bool, bool, bool, bool, bool);
        let (
            user,
            role,
            has_transaction_timeout,
            is_itself,
            is_plain,
            has_no_lock_timeout,
            has_no_statement_timeout,
        ): Others = ask::one(client, others).await?;
        let set = |(name, value): &(String, String)| {
            format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
        };
        let set: Vec<String> = settings.iter().map(set).collect();
        let settings = if set.is_empty() { String::new() } else { format!("SELECT {};", set.join(", ")) };
        // Whose they are could not be told apart later.
        let had_own =
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())
                 OR EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE name <> '')";
        let discard = if ask::one(client, had_own).await? { "" } else { "CLOSE ALL; DISCARD TEMP; " };
        let identity = |set: &str| {
            format!("{set} SESSION AUTHORIZATION {}; {set} ROLE {};", literal(&user), literal(&role))
        };
        // RESET SESSION AUTHORIZATION does the same for who never became anybody else.
        let restored = if is_itself && role == "none" { String::new() } else { identity("SET") };
        // Who one is comes last: only a superuser may set some of the others. One SELECT for them is quicker than many SETs.
        let restore = format!("RESET SESSION AUTHORIZATION; RESET ALL; {discard}{settings}{restored}");
        let in_force = InForce { is_plain, has_no_lock_timeout, has_no_statement_timeout };
        Ok(Self { restore, identity: identity("SET LOCAL"), has_transaction_timeout, in_force })
    }

    /// Makes the rest of a transaction run as who the session was, whatever role a script has set.
    pub(crate) fn identity_sql(&self) -> &str {
        &self.identity
    }

    /// Brings it back. In a transaction that then fails, its rollback does.
    pub(crate) fn restore_sql(&self) -> &str {
        &self.restore
    }

    pub(crate) async fn restore(&self, client: &Client) -> db_core::Result<()> {
        Executor::batch_execute(client, &self.restore).await
    }

    /// For work outside of a transaction, which may be dropped on the way.
    pub(crate) fn restoring<'a>(&'a self, client: &'a Client) -> Restoring<'a> {
        Restoring { client, session: self, open: true }
    }
}

/// A session whose settings are not what they were. Dropped, it sends their restoration behind whatever runs.
pub(crate) struct Restoring<'a> {
    client: &'a Client,
    session: &'a SessionState,
    open: bool,
}

impl Restoring<'_> {
    pub(crate) async fn restore(mut self) -> db_core::Result<()> {
        let restored = self.session.restore(self.client).await;
        self.open = false;
        restored
    }
}

impl Drop for Restoring<'_> {
    fn drop(&mut self) {
        if self.open {
            send(self.client, self.session.restore_sql());
        }
    }
}
