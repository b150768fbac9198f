//! The record of a file that runs in a transaction for the first time, prepared: planning it anew for each of a thousand files
//! would cost more than writing it. It writes what [`Change::sql`] does, which stays for everything else.

use tokio_postgres::Client;

use super::Change;
use crate::message;
use crate::transaction::send;

/// A statement in the session of the run, until it is dropped. The server may not know it any more when it is needed: a
/// script can throw it away, and a pooler may have gone to another session.
pub(crate) struct PreparedRecord<'a> {
    client: &'a Client,
    name: String,
}

impl<'a> PreparedRecord<'a> {
    /// Prepares it for all changes of this kind. Without it everything works as well, so that a refusal is no error.
    pub(crate) async fn prepare(client: &'a Client, change: &Change<'_>) -> Option<Self> {
        let prepared = Self { client, name: format!("db_migrate_record_{}", change.run) };
        message::send(client, &change.prepare_sql(&prepared.name)).await.ok().map(|_| prepared)
    }

    /// The change as one statement, as [`Change::sql`] is.
    pub(crate) fn sql(&self, change: &Change<'_>) -> String {
        change.execute_sql(&self.name)
    }
}

impl Drop for PreparedRecord<'_> {
    fn drop(&mut self) {
        send(self.client, &format!("DEALLOCATE {}", self.name));
    }
}
