//! A database that exists for one replay. Its removal does not depend on the replay's success. What runs in it is not
//! decided here.

use std::future::Future;
use std::time::Duration;

use db_core::{Executor, Query, SqlState};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::transaction::send;
use crate::{Error, Result};

/// Opens connections to databases of the server that is migrated.
///
/// Every `Fn(String) -> impl Future<Output = db_core::Result<Client>>` does; the argument is the database's name.
pub trait Connect: Send + Sync {
    /// Connects to `database` as the role that migrates, and sees to it that the connection is driven.
    fn connect(&self, database: &str) -> impl Future<Output = db_core::Result<Client>> + Send;
}

impl<F, Fut> Connect for F
where
    F: Fn(String) -> Fut + Send + Sync,
    Fut: Future<Output = db_core::Result<Client>> + Send,
{
    fn connect(&self, database: &str) -> impl Future<Output = db_core::Result<Client>> + Send {
        self(database.to_owned())
    }
}

/// The scratch database. Dropped without [`Scratch::remove`], it sends its removal behind whatever runs.
pub(crate) struct Scratch<'a> {
    admin: &'a Client,
    name: String,
    exists: bool,
}

impl<'a> Scratch<'a> {
    /// Creates it, with the encoding and locale of the database that `admin` is connected to.
    pub(crate) async fn create(admin: &'a Client) -> Result<Scratch<'a>> {
        let failed = || Error::doing("create the scratch database");
        remove_leftovers(admin).await.map_err(failed())?;
        let (name, options): (String, String) = admin.one(NAME_AND_OPTIONS, &[]).await.map_err(failed())?;
        let scratch = Self { admin, name, exists: true };
        let sql = format!("CREATE DATABASE {} TEMPLATE template0 {options}", scratch.name);
        match Executor::batch_execute(admin, &sql).await {
            Ok(()) => Ok(scratch),
            Err(source) if source.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE) => {
                let role = admin.one("SELECT pg_catalog.quote_ident(current_user)", &[]).await;
                let role = role.unwrap_or_else(|_| "current_user".to_owned());
                Err(Error::MayNotCreateDatabase { role, source })
            }
            Err(source) => Err(failed()(source)),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Removes it. A failure leaves a database that a later verification removes.
    pub(crate) async fn remove(mut self) {
        self.wait_until_unused().await;
        match Executor::batch_execute(self.admin, &self.removal()).await {
            Ok(()) => self.exists = false,
            Err(error) => tracing::warn!(target: "db::migrate", %error, database = self.name,
                "scratch database not removed"),
        }
    }

    /// A session that is just ending makes DROP DATABASE sleep for 100 ms; ended by force it would leave an error in the
    /// server's log. Whoever stays longer is removed by force all the same.
    async fn wait_until_unused(&self) {
        let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = $1";
        for _ in 0..MAX_CHECKS {
            match self.admin.one::<i64>(sql, &[&self.name]).await {
                Ok(0) | Err(_) => return,
                Ok(_) => sleep(CHECK_PAUSE).await,
            }
        }
    }

    fn removal(&self) -> String {
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
    }
}

/// How often to look whether the session of the replay has ended.
const CHECK_PAUSE: Duration = Duration::from_millis(2);

/// After a tenth of a second something is wrong.
const MAX_CHECKS: u32 = 50;

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if self.exists {
            send(self.admin, &self.removal());
        }
    }
}

/// The name carries the server process that uses it and the server's time, in seconds.
const NAME_AND_OPTIONS: &str = "
    SELECT 'db_migrate_scratch_' || pg_backend_pid() || '_' || extract(epoch FROM now())::bigint
               || '_' || substr(md5(random()::text), 1, 8),
           format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype)
    FROM pg_catalog.pg_database WHERE datname = current_database()";

/// Those of crashed verifications: older than an hour and used by nobody.
const LEFTOVERS: &str = "
    SELECT datname::text FROM pg_catalog.pg_database d
    WHERE CASE WHEN datname ~ '^db_migrate_scratch_[0-9]+_[0-9]+_[0-9a-f]+$'
               THEN split_part(datname, '_', 5)::bigint < extract(epoch FROM now() - interval '1 hour') END
      AND pg_catalog.pg_has_role(datdba, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)";

async fn remove_leftovers(admin: &Client) -> db_core::Result<()> {
    for name in Query::query::<String>(admin, LEFTOVERS, &[]).await? {
        // Somebody else may be doing the same.
        if let Err(error) = Executor::batch_execute(admin, &format!("DROP DATABASE IF EXISTS {name}")).await {
            tracing::debug!(target: "db::migrate", %error, database = name, "left-over scratch database not removed");
        }
    }
    Ok(())
}
