//! What one fault is tried on: the load, the tables under it, and how long it goes on. The short form, as tests run it, and the
//! long one of `cargo xtask fault` differ only in their [`Effort`].

use std::time::Duration;

use db_app::config::Layers;
use db_app::{Config, Database, Isolation, Resolver, TxOptions};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::support::client;

/// What every account begins with.
pub(crate) const INITIAL: i64 = 1_000;

/// The load under a fault. Constructed with [`Case::new`] and changed by field.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) fault: &'static str,
    pub(crate) workers: u32,
    pub(crate) accounts: i32,
    /// Of each call. A tenth of it must be far above what a busy machine delays a task by.
    pub(crate) deadline: Duration,
    pub(crate) isolation: Isolation,
    pub(crate) order: Order,
    pub(crate) way: Way,
    pub(crate) belief: Belief,
    /// Settings of the database beside those of all cases.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// In which order a transfer locks its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    ByAccount,
    /// The giving one first, so that two transfers may wait for each other.
    AsTheyCome,
}

/// How a transfer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Statement by statement.
    Transaction,
    /// In one round trip.
    Batch,
    /// As one statement that does all of it, which may run on a lane. Nobody resolves one that is in doubt, but its key does.
    Statement,
}

/// What a worker makes of an outcome that is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    /// It has a resolver, and what that cannot say in time it asks again later.
    TheResolver,
    /// It has none, and runs the whole again: on purpose wrong.
    ThatItFailed,
    /// It has none, and goes on: on purpose wrong.
    ThatItIsDone,
}

impl Case {
    pub(crate) fn new(fault: &'static str) -> Self {
        Self {
            fault,
            workers: 50,
            accounts: 1_000,
            deadline: Duration::from_secs(2),
            isolation: Isolation::ReadCommitted,
            order: Order::ByAccount,
            way: Way::Transaction,
            belief: Belief::TheResolver,
            settings: Vec::new(),
        }
    }

    /// How each transaction is run.
    pub(crate) fn options(&self) -> TxOptions {
        let options = TxOptions::new().isolation(self.isolation).deadline(self.deadline).retry();
        if self.belief == Belief::TheResolver { options.resolver(Resolver::Marker) } else { options }
    }
}

/// Makes the tables. The ledger's ids are not unique on purpose: what is written twice must be seen twice.
pub(crate) async fn set_up(server: &str, case: &Case) {
    let accounts = case.accounts;
    let sql = format!(
        "CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL);
         INSERT INTO account SELECT n, {INITIAL} FROM generate_series(0, {accounts} - 1) n;
         CREATE TABLE ledger (id bigint NOT NULL, source int NOT NULL, target int NOT NULL, amount bigint NOT NULL);
         CREATE INDEX ON ledger (id);"
    );
    client(server).await.batch_execute(&sql).await.expect("the tables");
}

/// The database as a service opens it, with the defaults of the program.
pub(crate) async fn open(url: &str, case: &Case) -> Database {
    let layers =
        Layers::default().with_environment("DATABASE_URL", url).with_environment("DB_POOL_MAX", "20");
    let settings = case.settings.iter();
    let layers = settings.fold(layers, |layers, (name, value)| layers.with_environment(name, value));
    Database::open(Config::load(&layers).expect("valid")).await.expect("open")
}

/// How long a fault goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    times: u64,
    until: Option<Instant>,
}

impl Effort {
    /// So many times, or for as long as the environment says.
    pub(crate) fn of(times: u64) -> Self {
        Self { times, until: seconds().map(|seconds| Instant::now() + Duration::from_secs_f64(seconds)) }
    }

    /// For a fault that is one span of time: how many seconds.
    pub(crate) fn seconds_or(short: f64) -> f64 {
        seconds().unwrap_or(short)
    }

    /// Whether it goes on after so many times. Once is the least.
    pub(crate) fn wants_more(&self, done: u64) -> bool {
        match self.until {
            Some(until) => done == 0 || Instant::now() < until,
            None => done < self.times,
        }
    }
}

fn seconds() -> Option<f64> {
    std::env::var("DB_FAULT_SECONDS").ok().map(|text| text.parse().expect("DB_FAULT_SECONDS"))
}

/// One fault at a time: another one's load would spoil the times that are measured here.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}
