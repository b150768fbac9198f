//! The load under a fault: workers that transfer money and log what they were told. What does not agree with the database in
//! the end is the judge's word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use db_app::{Database, Resolution};
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::subscriber::DefaultGuard;

use super::case::{Case, INITIAL, Way, open, set_up};
use super::events::Events;
use super::judge::{Books, Ending, Entry, Transfer, judge};
use super::report::Report;
use super::worker::{Line, work};
use crate::support::client;

/// How long the resolver may take when it is asked later, with the fault over.
const RESOLVING: Duration = Duration::from_secs(20);

/// How long is waited for the load to come so far before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Workers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<Vec<Line>>,
    /// Directly to the server, whatever the workers go through.
    server: String,
    events: Arc<Events>,
    _listening: DefaultGuard,
    began: Instant,
    again: Option<Duration>,
}

/// What the workers share.
pub(crate) struct Shared {
    pub(crate) case: Case,
    pub(crate) db: Database,
    is_over: AtomicBool,
    acknowledged: AtomicU64,
    ended: AtomicU64,
    changed: Notify,
}

impl Shared {
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn call_ended(&self, is_acknowledged: bool) {
        self.acknowledged.fetch_add(u64::from(is_acknowledged), Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let waiting = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // What changes from here on is not missed.
                changed.as_mut().enable();
                if condition() {
                    return;
                }
                changed.await;
            }
        };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "not within {PATIENCE:?}: {what}");
    }
}

impl Load {
    /// Sets the tables up by `server`, opens the database by `way`, and returns once writes flow.
    pub(crate) async fn start(case: Case, way: &str, server: &str) -> Self {
        set_up(server, &case).await;
        let (events, listening) = Events::listen();
        let db = open(way, &case).await;
        let shared = Arc::new(Shared {
            case,
            db,
            is_over: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            changed: Notify::new(),
        });
        let mut workers = JoinSet::new();
        for number in 0..shared.case.workers {
            workers.spawn(work(Arc::clone(&shared), number));
        }
        let server = server.to_owned();
        let began = Instant::now();
        let load = Self { shared, workers, server, events, _listening: listening, began, again: None };
        load.more(50).await;
        load
    }

    /// What the workers write to.
    pub(crate) fn database(&self) -> &Database {
        &self.shared.db
    }

    /// After a failover the books are on another server.
    pub(crate) fn is_judged_at(&mut self, server: &str) {
        server.clone_into(&mut self.server);
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// How many calls have ended so far, in whatever way.
    pub(crate) fn ended(&self) -> u64 {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// How many attempts came after a first one so far.
    pub(crate) fn retries(&self) -> u64 {
        self.events.retried.load(Ordering::Relaxed)
    }

    /// Waits for so many more acknowledged writes.
    pub(crate) async fn more(&self, writes: u64) {
        let goal = self.acknowledged() + writes;
        self.shared.until("writes are acknowledged", || self.acknowledged() >= goal).await;
    }

    /// Waits for a condition that is looked at after each call.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        self.shared.until(what, condition).await;
    }

    /// Waits for a write, and notes how long that took from the moment when the server was ready: now.
    pub(crate) async fn flows_again(&mut self) {
        let ready = Instant::now();
        self.more(1).await;
        self.again = self.again.max(Some(ready.elapsed()));
    }

    /// Ends the load with the fault over, asks what became of what is in doubt, and compares.
    pub(crate) async fn finish(mut self, fired: u64) -> Report {
        self.flows_again().await;
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut lines = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            lines.extend(worker.expect("a worker panicked"));
        }
        let took = self.began.elapsed();
        let events = &self.events;
        let during = events.committed.load(Ordering::Relaxed) + events.rolled_back.load(Ordering::Relaxed);
        let (log, doubts) = self.resolved(&lines).await;
        let in_doubt = lines.iter().filter(|line| line.entry.ending == Ending::Unknown).count() as u64;
        self.shared.db.close(Duration::from_secs(10)).await.expect("nobody holds a connection");

        let verdict = judge(&log, &self.books().await, INITIAL);
        let deadline = self.shared.case.deadline.as_secs_f64();
        let slowest = lines.iter().map(|line| line.took).max().unwrap_or_default().as_secs_f64();
        Report {
            fault: self.shared.case.fault,
            calls: lines.iter().map(|line| line.calls).sum(),
            acknowledged: self.acknowledged(),
            fired,
            retries: self.retries(),
            unknown: during + in_doubt,
            committed: events.committed.load(Ordering::Relaxed),
            rolled_back: events.rolled_back.load(Ordering::Relaxed),
            verdict,
            doubts,
            over: ((slowest - deadline) / deadline * 100.0).max(0.0),
            again: self.again,
            took,
        }
    }

    /// The log, with the word of the resolver on what was in doubt, and why what still is in doubt is.
    async fn resolved(&self, lines: &[Line]) -> (Vec<Entry>, Vec<String>) {
        let asking = futures_util::stream::iter(lines).map(async |line| {
            let Entry { transfer, ending } = line.entry;
            let (ending, doubt) = match &line.in_doubt {
                Some(name) => match self.shared.db.resolve(name, RESOLVING).await {
                    Ok(Resolution::Committed) => (Ending::Committed, None),
                    Ok(Resolution::RolledBack) => (Ending::RolledBack, None),
                    other => (Ending::Unknown, Some(format!("{} as {name}: {other:?}", transfer.id))),
                },
                None if ending == Ending::Unknown && self.shared.case.way == Way::Statement => {
                    (self.by_key(transfer.id).await, None)
                }
                None if ending == Ending::Unknown => {
                    (ending, Some(format!("{} without a name: {}", transfer.id, line.error)))
                }
                None => (ending, None),
            };
            (Entry { transfer, ending }, doubt)
        });
        let (log, doubts): (Vec<_>, Vec<_>) = asking.buffer_unordered(10).unzip().await;
        (log, doubts.into_iter().flatten().collect())
    }

    /// What became of a single statement, whose key is nobody else's. Its session has ended by now.
    async fn by_key(&self, id: i64) -> Ending {
        let there = "SELECT EXISTS (SELECT FROM ledger WHERE id = $1)";
        let row = client(&self.server).await.query_one(there, &[&id]).await.expect("the ledger");
        if row.get(0) { Ending::Committed } else { Ending::RolledBack }
    }

    /// What the database holds, read on a connection that no fault touches.
    async fn books(&self) -> Books {
        let client = client(&self.server).await;
        let rows =
            client.query("SELECT id, source, target, amount FROM ledger", &[]).await.expect("the ledger");
        let balances =
            client.query("SELECT cents FROM account ORDER BY id", &[]).await.expect("the accounts");
        let transfer = |row: &tokio_postgres::Row| Transfer {
            id: row.get(0),
            from: row.get(1),
            to: row.get(2),
            amount: row.get(3),
        };
        Books {
            rows: rows.iter().map(transfer).collect(),
            balances: balances.iter().map(|row| row.get(0)).collect(),
        }
    }
}
