//! One server as whoever routes sees it: a pool for reads, opened when it is needed, in place of which the one for writes is used
//! while this is the primary.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use db_core::{Acquire, Cause, Error, Log, Observer, Params, Phase, Result, RowStream, Signal};
use db_pool::{Conn, Pool, Settings, Stats, StillInUse, Target};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio_postgres::Row;
use tokio_util::task::AbortOnDropHandle;

use super::write_pool::WritePool;

/// The pools of one server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Pools>);

struct Pools {
    number: usize,
    target: Target,
    settings: Settings,
    observer: Arc<dyn Observer>,
    reads: Arc<OnceLock<Pool>>,
    opening: Mutex<Stage>,
    /// A server that is only looked at has none.
    writes: Option<Arc<WritePool>>,
}

/// How far the opening of a pool has come.
#[derive(Default)]
enum Stage {
    #[default]
    Before,
    /// For all who ask for it meanwhile.
    UnderWay(Opening),
    /// Nothing is opened any more.
    Closed,
}

type Opening = Shared<BoxFuture<'static, Result<(), Arc<Error>>>>;

impl Server {
    pub(super) fn for_reads(
        number: usize,
        target: &Target,
        settings: &Settings,
        observer: &Arc<dyn Observer>,
        writes: &Arc<WritePool>,
    ) -> Self {
        let mut settings = settings.clone();
        settings.name = format!("reads {}", target.endpoint());
        Self::new(number, target.clone(), settings, Arc::clone(observer), Some(Arc::clone(writes)))
    }

    /// For looks at the server, which are nobody's statements: they reach the log and no figures.
    pub(super) fn for_looks(number: usize, target: &Target, settings: &Settings) -> Self {
        let mut settings = settings.clone();
        (settings.name, settings.min, settings.max) = ("look".to_owned(), 0, 1);
        let target = target.clone().with_application_name("db look");
        Self::new(number, target, settings, Arc::new(Log), None)
    }

    fn new(
        number: usize,
        target: Target,
        mut settings: Settings,
        observer: Arc<dyn Observer>,
        writes: Option<Arc<WritePool>>,
    ) -> Self {
        // Whoever routes tries again, or elsewhere.
        settings.connect_retry.max_retries = 0;
        let (reads, opening) = (Arc::default(), Mutex::default());
        Self(Arc::new(Pools { number, target, settings, observer, reads, opening, writes }))
    }

    /// The figures of the pool for reads, if it is open and not one for looks.
    pub(super) fn stats(&self) -> Option<Stats> {
        let pool = self.0.reads.get().filter(|_| self.0.writes.is_some());
        pool.map(Pool::stats)
    }

    /// The pool for writes, while this is the primary.
    fn writes(&self) -> Option<&Pool> {
        self.0.writes.as_ref()?.of(self.0.number)
    }

    async fn pool(&self) -> Result<&Pool> {
        let Pools { reads, .. } = &*self.0;
        loop {
            if let Some(pool) = self.writes().or(reads.get()) {
                return Ok(pool);
            }
            self.opening()?.await.map_err(|error| error.duplicate())?;
        }
    }

    /// It goes on when those who asked for it give up: a look waits for less than a far server takes to connect, and would never
    /// see it.
    fn opening(&self) -> Result<Opening> {
        let Pools { target, settings, observer, reads, .. } = &*self.0;
        let mut stage = self.stage();
        match &*stage {
            Stage::Closed => {
                return Err(Error::new(Signal::new(Cause::PoolClosed, Phase::Acquire), "the pool is closed"));
            }
            // What has failed is tried again; what has succeeded is where the pool is looked for first.
            Stage::UnderWay(opening) if !matches!(opening.peek(), Some(Err(_))) => return Ok(opening.clone()),
            Stage::UnderWay(_) | Stage::Before => {}
        }
        let opening = Pool::open_observed(target.clone(), settings.clone(), Arc::clone(observer));
        let opened = AbortOnDropHandle::new(tokio::spawn(opening));
        let reads = Arc::clone(reads);
        let opened = async move {
            let opened = opened.await.unwrap_or_else(|error| {
                Err(Error::new(Signal::new(Cause::Defect, Phase::Connect), error.to_string()))
            });
            reads.set(opened.map_err(Arc::new)?).ok();
            Ok(())
        };
        let opening = opened.boxed().shared();
        *stage = Stage::UnderWay(opening.clone());
        Ok(opening)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are open.
    fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.0.reads.get().into_iter().chain(self.writes())
    }

    /// Closes what is for reads; the pool for writes is the database's own.
    pub(super) async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        *self.stage() = Stage::Closed;
        match self.0.reads.get() {
            Some(pool) => pool.close(limit).await,
            None => Ok(()),
        }
    }
}

impl Acquire for Server {
    type Conn = Conn;

    async fn acquire(&self, deadline: Option<Instant>) -> Result<Conn> {
        Acquire::acquire(self.pool().await?, deadline).await
    }

    async fn stream(conn: Conn, sql: &str, params: Params<'_>) -> Result<RowStream<'static>> {
        conn.into_stream(sql, params).await
    }

    async fn fetch_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>> {
        self.pool().await?.fetch_autocommit(deadline, sql, params).await
    }

    async fn execute_autocommit(
        &self,
        deadline: Option<Instant>,
        sql: &str,
        params: Params<'_>,
    ) -> Result<u64> {
        self.pool().await?.execute_autocommit(deadline, sql, params).await
    }

    async fn keep_session(conn: &Conn) -> Result<()> {
        <Pool as Acquire>::keep_session(conn).await
    }

    fn rotate(&self) {
        self.pools().for_each(Pool::rotate);
    }

    fn is_primary_now(&self, is_primary: bool) {
        if let Some(writes) = &self.0.writes {
            writes.primary_is(is_primary.then_some(self.0.number));
        }
    }

    fn sever(&self) {
        self.pools().for_each(Pool::sever);
    }
}
