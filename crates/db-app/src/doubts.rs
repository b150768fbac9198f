//! What resolvers need that outlives a transaction: the table of the markers, kept small, and a session that would not survive
//! a crash of the server.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use db_core::{Cause, Error, Executor, Phase, Query, Result, Signal};
use db_pool::{Conn, Pool};
use db_retry::Marker;
use tokio::time::{Instant, interval, timeout_at};
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use crate::aside::Aside;

/// Rows older than this are deleted; nobody may ask for them from half of it on.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often they are.
const CLEANED_EVERY: Duration = Duration::from_secs(60 * 60);

/// What resolvers need. Nothing of it is there before it is needed.
#[derive(Debug)]
pub(crate) struct Doubts {
    pool: Pool,
    /// The server on which the table is known to be; a new primary may not have got it from the old one.
    table_at: Mutex<Option<String>>,
    /// Cleans the table, once it was needed.
    cleaning: OnceLock<AbortOnDropHandle<()>>,
    sentinel: Aside,
}

impl Doubts {
    pub(crate) fn new(pool: &Pool) -> Self {
        let (table_at, cleaning) = (Mutex::default(), OnceLock::new());
        Self { pool: pool.clone(), table_at, cleaning, sentinel: Aside::new("db sentinel", pool) }
    }

    /// Makes sure that the markers have a table where a connection goes.
    pub(crate) async fn ensure_table(&self, conn: &Conn) -> Result<()> {
        if self.table_at().as_deref() == Some(conn.endpoint()) {
            return Ok(());
        }
        create_table(conn).await?;
        *self.table_at() = Some(conn.endpoint().to_owned());
        self.cleaning.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(clean(self.pool.clone()))));
        Ok(())
    }

    fn table_at(&self) -> MutexGuard<'_, Option<String>> {
        self.table_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what goes on by itself.
    pub(crate) fn stop(&self) {
        if let Some(cleaning) = self.cleaning.get() {
            cleaning.abort();
        }
        self.sentinel.close();
    }

    /// A session that was there before the transaction that asks for it, with the same server: on another one it would know
    /// nothing.
    pub(crate) async fn sentinel(&self, deadline: Option<Instant>) -> Result<Arc<Client>> {
        let connecting = self.sentinel.client();
        match deadline {
            Some(deadline) => timeout_at(deadline, connecting).await.map_err(|_| late())?,
            None => connecting.await,
        }
    }
}

fn late() -> Error {
    let signal = Signal::new(Cause::Unreachable, Phase::Connect);
    Error::new(signal, "the deadline passed before the resolver had a connection")
}

/// Asks first: a role that may not create tables may still use one that is there.
async fn create_table(conn: &Conn) -> Result<()> {
    let is_there = async || conn.one::<bool>("SELECT to_regclass('db_tx_outcome') IS NOT NULL", &[]).await;
    if is_there().await? {
        return Ok(());
    }
    match conn.batch_execute(Marker::TABLE).await {
        Ok(()) => Ok(()),
        // Somebody else creates it at the same moment.
        Err(_) if is_there().await? => Ok(()),
        Err(error) => {
            Err(error.context("the resolver needs the table db_tx_outcome (db_retry::Marker::TABLE)"))
        }
    }
}

async fn clean(pool: Pool) {
    let mut ticks = interval(CLEANED_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = clean_once(&pool).await {
            tracing::warn!(target: "db", %error, "the markers of old transactions were not deleted");
        }
    }
}

async fn clean_once(pool: &Pool) -> Result<()> {
    let conn = pool.acquire().await?;
    Marker::clean(&conn, KEPT).await.map(drop)
}
