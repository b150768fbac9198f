//! A second connection that looks at the first while a statement takes long: who blocks it, how far an index is. It opens
//! late, so that quick migrations never need it, and what it cannot see is no error.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use db_core::{Executor, FromRow};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::history::some_as_millis;
use crate::lock::Fence;
use crate::runner::Context;
use crate::{Blocked, Connect, IndexBuild, ask};

/// A session that holds what a migration waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Blocker {
    /// Its server process.
    pub pid: i32,
    /// Its role, when it may be seen.
    pub user: Option<String>,
    /// Its `application_name`; empty when it gave none or may not be seen.
    pub application: String,
    /// Whether it is `active`, `idle in transaction` and so on, when it may be seen.
    pub state: Option<String>,
    /// How long its transaction is open, when it may be seen.
    #[serde(rename = "open_for_ms", serialize_with = "some_as_millis")]
    pub open_for: Option<Duration>,
    /// What it runs or ran last, without literals; empty when it may not be seen.
    pub query: String,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server process {}", self.pid)?;
        if let Some(user) = &self.user {
            write!(f, " of {user}")?;
        }
        if !self.application.is_empty() {
            write!(f, ", {:?}", self.application)?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(open_for) = self.open_for {
            write!(f, ", in its transaction for {:.1} s", open_for.as_secs_f64())?;
        }
        if !self.query.is_empty() {
            write!(f, ": {}", self.query)?;
        }
        Ok(())
    }
}

type Connecting = Pin<Box<dyn Future<Output = db_core::Result<Client>> + Send>>;

/// How the second connection is opened: to the database of that name.
#[derive(Clone)]
pub(crate) struct Connector(Arc<dyn Fn(String) -> Connecting + Send + Sync>);

impl Connector {
    pub(crate) fn new(connect: impl Connect + 'static) -> Self {
        let connect = Arc::new(connect);
        Self(Arc::new(move |database| {
            let connect = Arc::clone(&connect);
            Box::pin(async move { connect.connect(&database).await })
        }))
    }
}

pub(crate) struct Watch {
    connector: Option<Connector>,
    database: String,
    client: Option<Client>,
    /// Who blocked the statement when it was looked at last.
    blockers: Vec<Blocker>,
}

/// When a statement begins to be watched: what is quicker interests nobody.
const FIRST_LOOK: Duration = Duration::from_millis(150);

/// A lock time-out is short: who is in the way must be seen before.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long to wait with another connection when one was lost or refused.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);

impl Watch {
    pub(crate) fn new(connector: Option<Connector>, database: String) -> Self {
        Self { connector, database, client: None, blockers: Vec::new() }
    }

    /// Those that blocked what was watched last.
    pub(crate) fn blockers(&self) -> &[Blocker] {
        &self.blockers
    }

    /// Does work, and looks at it meanwhile.
    pub(crate) async fn during<T>(&mut self, context: &Context<'_>, work: impl Future<Output = T>) -> T {
        self.blockers.clear();
        let mut work = pin!(work);
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = self.look(context) => {}
        }
        work.await
    }

    /// Looks until it is dropped; ends only when nothing can be seen, and never while a lease is to be renewed.
    async fn look(&mut self, context: &Context<'_>) {
        let Some(connector) = self.connector.clone() else {
            return;
        };
        let began = Instant::now();
        let mut renewed = began;
        sleep(FIRST_LOOK).await;
        loop {
            let looked = self.once(&connector, context, began, &mut renewed).await;
            let pause = match (looked, &context.fence) {
                (Ok(()), _) => LOOK_AGAIN,
                (Err(error), Fence::Lease { .. }) => {
                    tracing::debug!(target: "db::migrate", %error, "lease not renewed");
                    self.client = None;
                    CONNECT_AGAIN
                }
                (Err(error), Fence::Process(_)) => {
                    tracing::debug!(target: "db::migrate", %error, "nobody looks at what blocks and how far it is");
                    return;
                }
            };
            sleep(pause).await;
        }
    }

    async fn once(
        &mut self,
        connector: &Connector,
        context: &Context<'_>,
        began: Instant,
        renewed: &mut Instant,
    ) -> db_core::Result<()> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => (connector.0)(self.database.clone()).await?,
        };
        let client = self.client.insert(client);
        match &context.fence {
            Fence::Process(_) => look_once(client, context, began, &mut self.blockers).await?,
            // Whether it is still ours is seen when the file is through.
            Fence::Lease { renewal, ttl } if renewed.elapsed() >= *ttl / 3 => {
                Executor::batch_execute(client, renewal).await?;
                *renewed = Instant::now();
            }
            Fence::Lease { .. } => {}
        }
        Ok(())
    }
}

async fn look_once(
    client: &Client,
    context: &Context<'_>,
    began: Instant,
    blockers: &mut Vec<Blocker>,
) -> db_core::Result<()> {
    let pid = context.pid.to_string();
    let rows: Vec<BlockerRow> = ask::all(client, &BLOCKERS.replace("$1", &pid)).await?;
    let seen: Vec<Blocker> = rows.into_iter().map(BlockerRow::into_blocker).collect();
    if !seen.is_empty() {
        context.progress.blocked(&Blocked { blockers: &seen, waited: began.elapsed() });
        *blockers = seen;
    }
    let build: Option<BuildRow> = ask::one_or_none(client, &INDEX_BUILD.replace("$1", &pid)).await?;
    if let Some(BuildRow { index, table_name, phase, done, total }) = build {
        let [done, total] = [done, total].map(|count| u64::try_from(count).unwrap_or_default());
        let event = IndexBuild {
            index: index.as_deref(),
            table: table_name.as_deref(),
            phase: &phase,
            done,
            total,
            running: began.elapsed(),
        };
        context.progress.building_index(&event);
    }
    Ok(())
}

const BLOCKERS: &str = "
    SELECT blocker.pid, a.usename::text AS user_name, coalesce(a.application_name, '') AS application, a.state,
           extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS open_for, coalesce(a.query, '') AS query
    FROM (SELECT DISTINCT pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) AS pid) AS blocker
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = blocker.pid
    ORDER BY a.xact_start, blocker.pid";

/// The counts are of what the phase counts: blocks, else rows, else the transactions that it waits for.
const INDEX_BUILD: &str = "
    SELECT nullif(index_relid, 0::oid)::regclass::text AS index, relid::regclass::text AS table_name, phase,
           CASE WHEN blocks_total > 0 THEN blocks_done WHEN tuples_total > 0 THEN tuples_done ELSE lockers_done END
               AS done,
           CASE WHEN blocks_total > 0 THEN blocks_total WHEN tuples_total > 0 THEN tuples_total ELSE lockers_total END
               AS total
    FROM pg_catalog.pg_stat_progress_create_index WHERE pid = $1 AND phase IS NOT NULL";

#[derive(FromRow)]
struct BlockerRow {
    pid: i32,
    user_name: Option<String>,
    application: String,
    state: Option<String>,
    open_for: Option<f64>,
    query: String,
}

impl BlockerRow {
    fn into_blocker(self) -> Blocker {
        let open_for = self.open_for.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Blocker {
            pid: self.pid,
            user: self.user_name,
            application: self.application,
            state: self.state,
            open_for,
            query: db_core::without_literals(&self.query),
        }
    }
}

#[derive(FromRow)]
struct BuildRow {
    index: Option<String>,
    table_name: Option<String>,
    phase: String,
    done: i64,
    total: i64,
}
