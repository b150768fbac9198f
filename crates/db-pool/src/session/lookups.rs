//! The driver's own statements, behind a pooler that gives each transaction another session. By them it looks up types that
//! it does not know. It keeps their names for as long as it lives, while each exists only in the session where it was made.
//! So they are put into the session before a statement is prepared and taken out again: nothing stays in a session that others
//! use as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// What the driver has prepared in this transaction by itself. Those that we put there are from SQL.
const MADE: &str = "SELECT name, statement, array_to_string(parameter_types, ', ')
    FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql AND prepare_time >= now()";

/// What the driver has left in this session: it names its statements so, and nobody else may leave any there.
const LEFT: &str = "SELECT name, from_sql FROM pg_catalog.pg_prepared_statements WHERE name ~ '^s[0-9]+$'";

/// The statements of one connection's driver.
#[derive(Default)]
pub(super) struct Lookups {
    known: Mutex<Vec<Lookup>>,
    /// One statement is prepared at a time, since all need the same names.
    turn: tokio::sync::Mutex<()>,
    /// Whether some may be in the session of the transaction that is open, since a preparation did not end well.
    may_be_left: AtomicBool,
}

struct Lookup {
    name: String,
    text: String,
    types: String,
}

impl Lookups {
    /// Prepares a statement in the transaction that is open, and gives the types of its parameters.
    pub(super) async fn prepare(&self, client: &Client, sql: &str) -> Result<Arc<[Type]>, Error> {
        let _turn = self.turn.lock().await;
        self.may_be_left.store(true, Ordering::Relaxed);
        let put = self.each(|Lookup { name, text, types }| format!("PREPARE \"{name}\" ({types}) AS {text}"));
        let statement = if put.is_empty() {
            client.prepare(sql).await?
        } else {
            let (put, statement) = join(client.batch_execute(&put), client.prepare(sql)).await;
            put?;
            statement?
        };
        let types: Arc<[Type]> = statement.params().into();
        let mut all =
            statement.params().iter().chain(statement.columns().iter().map(|column| column.type_()));
        let has_looked_up = all.any(|it| Type::from_oid(it.oid()).is_none());
        // Closes it there, before anything that follows.
        drop(statement);
        if has_looked_up {
            for row in client.query_typed(MADE, &[]).await? {
                self.known().push(Lookup { name: row.get(0), text: row.get(1), types: row.get(2) });
            }
        }
        let removal = self.each(|Lookup { name, .. }| format!("DEALLOCATE \"{name}\""));
        if !removal.is_empty() {
            client.batch_execute(&removal).await?;
        }
        self.may_be_left.store(false, Ordering::Relaxed);
        Ok(types)
    }

    /// Waits until nothing is being prepared: it goes on when its caller does not.
    pub(super) async fn rest(&self) {
        drop(self.turn.lock().await);
    }

    /// Whether some may be in the session of the transaction that is open.
    pub(super) fn may_be_left(&self) -> bool {
        self.may_be_left.load(Ordering::Relaxed)
    }

    /// Rolls back, and takes out of the session what the driver has left there. Gives whether we know all that the driver may
    /// count on.
    pub(super) async fn sweep(&self, client: &Client) -> Result<bool, Error> {
        // In one message, or the next transaction is in another session.
        client.batch_execute("ROLLBACK; BEGIN").await?;
        let (mut removal, mut is_known) = (String::new(), true);
        for row in client.query_typed(LEFT, &[]).await? {
            let (name, is_ours): (&str, bool) = (row.get(0), row.get(1));
            is_known &= is_ours || self.known().iter().any(|lookup| lookup.name == name);
            removal += &format!("DEALLOCATE \"{name}\"; ");
        }
        client.batch_execute(&(removal + "COMMIT")).await?;
        self.may_be_left.store(false, Ordering::Relaxed);
        Ok(is_known)
    }

    fn each(&self, sql: impl Fn(&Lookup) -> String) -> String {
        self.known().iter().map(sql).collect::<Vec<_>>().join("; ")
    }

    fn known(&self) -> MutexGuard<'_, Vec<Lookup>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
