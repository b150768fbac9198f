//! What resolvers need that outlives a transaction: the table of the markers, kept small, and a session that would not survive
//! a crash of the server.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Cause, Error, Executor, Phase, Query, Result, Signal};
use db_pool::Pool;
use db_retry::Marker;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, interval, timeout_at};
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

use crate::Database;

/// Rows older than this are deleted; nobody may ask for them from half of it on.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often they are.
const CLEANED_EVERY: Duration = Duration::from_secs(60 * 60);

/// What resolvers need. Nothing of it is there before it is needed.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Cleans the table, once it is known to be there.
    cleaning: OnceCell<AbortOnDropHandle<()>>,
    sentinel: Mutex<Option<Sentinel>>,
}

/// A session that stays, and where.
#[derive(Debug)]
struct Sentinel {
    endpoint: String,
    client: Arc<Client>,
}

impl Doubts {
    /// Makes sure that the markers have a table.
    pub(crate) async fn ensure_table(&self, pool: &Pool, deadline: Option<Instant>) -> Result<()> {
        let ensure = self.cleaning.get_or_try_init(async || {
            create_table(pool, deadline).await?;
            let pool = pool.clone();
            Ok::<_, Error>(AbortOnDropHandle::new(tokio::spawn(clean(pool))))
        });
        ensure.await.map(drop)
    }

    /// Ends what goes on by itself.
    pub(crate) fn stop(&self) {
        if let Some(cleaning) = self.cleaning.get() {
            cleaning.abort();
        }
        // Whoever connects one just now drops it with the rest.
        if let Ok(mut sentinel) = self.sentinel.try_lock() {
            *sentinel = None;
        }
    }

    /// A session that was there before the transaction that asks for it.
    pub(crate) async fn sentinel(
        &self,
        database: &Database,
        deadline: Option<Instant>,
    ) -> Result<Arc<Client>> {
        let mut slot = self.sentinel.lock().await;
        // On another server than the transaction it would know nothing.
        let endpoint = database.pool().endpoint();
        let stays = |sentinel: &&Sentinel| !sentinel.client.is_closed() && sentinel.endpoint == endpoint;
        if let Some(sentinel) = slot.as_ref().filter(stays) {
            return Ok(Arc::clone(&sentinel.client));
        }
        let connecting = database.connect_aside("sentinel", None);
        let connected = match deadline {
            Some(deadline) => timeout_at(deadline, connecting).await.map_err(|_| late())?,
            None => connecting.await,
        };
        let client = Arc::new(connected?);
        *slot = Some(Sentinel { endpoint, client: Arc::clone(&client) });
        Ok(client)
    }
}

fn late() -> Error {
    let signal = Signal::new(Cause::Unreachable, Phase::Connect);
    Error::new(signal, "the deadline passed before the resolver had a connection")
}

/// Asks first: a role that may not create tables may still use one that is there.
async fn create_table(pool: &Pool, deadline: Option<Instant>) -> Result<()> {
    let conn = match deadline {
        Some(deadline) => pool.acquire_until(deadline).await?,
        None => pool.acquire().await?,
    };
    let is_there = async || conn.one::<bool>("SELECT to_regclass('db_tx_outcome') IS NOT NULL", &[]).await;
    if is_there().await? {
        return Ok(());
    }
    match conn.batch(Marker::TABLE).await {
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
