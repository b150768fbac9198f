//! Many callers on one pool whose sessions are killed all the time, for minutes: nothing may grow, nobody may starve, and no
//! acknowledged row may be lost. `cargo xtask soak` runs it on an empty database: `soak URL MINUTES TASKS`.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_core::{Error, Executor, Kind, Outcome, Query};
use db_pool::{Pool, Settings, Stats};
use rand::RngExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::{Client, NoTls};

type Outcomes<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// How often a session is killed.
const KILL_EVERY: Duration = Duration::from_millis(100);
/// The most writes per second; tasks read in place of more.
const WRITES: f64 = 4_000.0;
/// Longer than any caller has to wait among so many.
const STARVED: Duration = Duration::from_secs(10);
/// How much more than half-way through may be resident at the end.
const GROWTH: f64 = 1.3;
/// Files beside connections that may be open at the end and were not at the beginning.
const SPARE_FILES: usize = 4;

/// What is known of a write, by its number.
mod state {
    pub(super) const UNUSED: u8 = 1;
    pub(super) const UNDONE: u8 = 2;
    pub(super) const DONE: u8 = 3;
    pub(super) const UNKNOWN: u8 = 4;
}

/// What all tasks share.
struct Soak {
    pool: Pool,
    is_over: AtomicBool,
    served: AtomicU64,
    dropped: AtomicU64,
    killed: AtomicU64,
    writes: Writes,
    errors: Mutex<BTreeMap<String, u64>>,
    /// How many errors were of another kind than connection.
    strange: AtomicU64,
}

/// The writes. All room is taken at the beginning: what the soak keeps must not look like growth.
struct Writes {
    started: Instant,
    next: AtomicUsize,
    states: Vec<AtomicU8>,
}

/// What one task got.
struct Share {
    served: u64,
    longest_wait: Duration,
}

/// What the process holds at one moment.
struct Sample {
    resident_kib: u64,
    files: usize,
    stats: Stats,
}

#[tokio::main]
async fn main() -> Outcomes<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(minutes), Some(tasks)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: soak URL MINUTES TASKS".into());
    };
    let (minutes, tasks) = (minutes.parse::<f64>()?, tasks.parse()?);
    let length = Duration::try_from_secs_f64(minutes * 60.0)?;
    timeout(length + Duration::from_secs(120), run(&url, length, tasks))
        .await
        .map_err(|_| "it does not end")?
}

async fn run(url: &str, length: Duration, tasks: usize) -> Outcomes<()> {
    let aside = connect(url).await?;
    aside.batch_execute("CREATE TABLE written (id int8, part int4); CREATE INDEX ON written (id)").await?;
    let mut settings = Settings::default();
    settings.max = 20;
    settings.acquire_timeout = STARVED;
    settings.queue_limit = tasks;
    settings.application_name = "soak".to_owned();
    let soak = Arc::new(Soak {
        pool: Pool::open(url.parse::<db_pool::Target>()?, settings).await?,
        is_over: AtomicBool::new(false),
        served: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        killed: AtomicU64::new(0),
        writes: Writes::with_room((length.as_secs_f64() * WRITES) as usize),
        errors: Mutex::default(),
        strange: AtomicU64::new(0),
    });

    let started = Instant::now();
    let first = soak.sample("start", started)?;
    let killer = tokio::spawn(kill(Arc::clone(&soak), connect(url).await?));
    let load: Vec<_> = (0..tasks).map(|_| tokio::spawn(use_pool(Arc::clone(&soak)))).collect();
    sleep_until(started + length / 2).await;
    let middle = soak.sample("middle", started)?;
    sleep_until(started + length).await;
    let last = soak.sample("end of the load", started)?;
    soak.is_over.store(true, Ordering::Relaxed);
    let mut shares = Vec::new();
    for task in load {
        shares.push(task.await?);
    }
    killer.await??;

    let mut problems = Vec::new();
    problems.extend(soak.rest(&aside).await?);
    let end = soak.sample("at rest", started)?;
    problems.extend(soak.growth(&first, &middle, &last, &end));
    problems.extend(soak.hunger(&shares));
    problems.extend(soak.rows(&aside).await?);
    soak.pool.close(Duration::from_secs(5)).await?;
    for problem in &problems {
        println!("wrong: {problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("{} things are wrong", problems.len()).into()) }
}

async fn connect(url: &str) -> Outcomes<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Kills a session of the pool, again and again.
async fn kill(soak: Arc<Soak>, client: Client) -> Outcomes<()> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'soak' ORDER BY random() LIMIT 1";
    let statement = client.prepare(sql).await?;
    while !soak.is_over.load(Ordering::Relaxed) {
        sleep(KILL_EVERY).await;
        soak.killed.fetch_add(client.execute(&statement, &[]).await?, Ordering::Relaxed);
    }
    Ok(())
}

/// One task: uses the pool until the end.
async fn use_pool(soak: Arc<Soak>) -> Share {
    let mut share = Share { served: 0, longest_wait: Duration::ZERO };
    let mut last_served = Instant::now();
    while !soak.is_over.load(Ordering::Relaxed) {
        let (what, patience) = {
            let mut random = rand::rng();
            (random.random_range(0..100), Duration::from_micros(random.random_range(0..30_000)))
        };
        let done = match what {
            0..50 => soak.read().await,
            50..70 => soak.write(None).await,
            70..85 => soak.write(Some(patience)).await,
            85..95 => soak.sleep(patience).await,
            _ => soak.transaction_that_fails().await,
        };
        match done {
            Ok(true) => {
                share.longest_wait = share.longest_wait.max(last_served.elapsed());
                share.served += 1;
                last_served = Instant::now();
                soak.served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(false) => {
                soak.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => soak.note(&error),
        }
    }
    share
}

/// What a task does. Gives whether it was served: a future that was dropped was not.
impl Soak {
    async fn read(&self) -> Result<bool, Error> {
        let number: i64 = rand::rng().random_range(0..1_000);
        let text = format!("number {number}");
        let (more, same): (i64, String) =
            self.pool.one("SELECT $1::int8 + 1, $2::text", &[&number, &text]).await?;
        assert_eq!((more, same), (number + 1, text), "the answer to somebody else's question");
        Ok(true)
    }

    async fn sleep(&self, patience: Duration) -> Result<bool, Error> {
        match timeout(patience, self.pool.one::<i32>("SELECT 1 FROM pg_sleep(0.01)", &[])).await {
            Ok(slept) => slept.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    async fn transaction_that_fails(&self) -> Result<bool, Error> {
        let failed = self.pool.tx(async |tx| {
            tx.execute("INSERT INTO written VALUES ($1, 0)", &[&-1_i64]).await?;
            tx.one::<i32>("SELECT 1 / $1::int4", &[&0]).await
        });
        match failed.await {
            Err(error) if error.sqlstate().is_some_and(|code| code.as_str() == "22012") => Ok(true),
            Err(error) => Err(error),
            Ok(_) => panic!("divided by zero"),
        }
    }

    /// Writes rows under a number that nobody else has; given up when patience ends.
    async fn write(&self, patience: Option<Duration>) -> Result<bool, Error> {
        let Some(id) = self.writes.begin() else { return self.read().await };
        let writing = self.write_rows(id as i64);
        let written = match patience {
            None => writing.await,
            Some(patience) => match timeout(patience, writing).await {
                Ok(written) => written,
                Err(_) => return Ok(false),
            },
        };
        let state = match &written {
            Ok(()) => state::DONE,
            Err(error) => match error.outcome() {
                Outcome::NotExecuted | Outcome::RolledBack => state::UNDONE,
                Outcome::Executed => state::DONE,
                _ => state::UNKNOWN,
            },
        };
        self.writes.settle(id, state);
        written.map(|()| true)
    }

    async fn write_rows(&self, id: i64) -> Result<(), Error> {
        const INSERT: &str = "INSERT INTO written VALUES ($1, $2)";
        match rows_of(id) {
            1 => self.pool.execute(INSERT, &[&id, &0]).await.map(drop),
            _ => {
                let both = self.pool.tx(async |tx| {
                    tx.execute(INSERT, &[&id, &0]).await?;
                    tx.execute(INSERT, &[&id, &1]).await
                });
                both.await.map(drop)
            }
        }
    }

    fn note(&self, error: &Error) {
        if error.kind() != Kind::Connection {
            self.strange.fetch_add(1, Ordering::Relaxed);
        }
        let what = format!("{:?}, {:?}, {:?}: {error}", error.kind(), error.phase(), error.outcome());
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }
}

/// Every other write is a single statement.
fn rows_of(id: i64) -> i64 {
    1 + id % 2
}

impl Writes {
    fn with_room(count: usize) -> Self {
        let states = (0..count).map(|_| AtomicU8::new(state::UNUSED)).collect();
        Self { started: Instant::now(), next: AtomicUsize::new(0), states }
    }

    fn begin(&self) -> Option<usize> {
        let most = self.started.elapsed().as_secs_f64() * WRITES;
        if self.next.load(Ordering::Relaxed) as f64 > most {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.states.get(id)?.store(state::UNKNOWN, Ordering::Relaxed);
        Some(id)
    }

    fn settle(&self, id: usize, state: u8) {
        self.states[id].store(state, Ordering::Relaxed);
    }
}

/// What must hold, and what is wrong when it does not.
impl Soak {
    /// Nobody has a connection, and the server has those that the pool counts.
    async fn rest(&self, aside: &Client) -> Outcomes<Option<String>> {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'soak'";
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let stats = self.pool.stats();
            let sessions: i64 = aside.query_one(sql, &[]).await?.get(0);
            if (stats.in_use, stats.waiting, i64::from(stats.total)) == (0, 0, sessions) {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Ok(Some(format!("no rest: {sessions} sessions on the server, {stats:?}")));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn growth(&self, first: &Sample, middle: &Sample, last: &Sample, end: &Sample) -> Vec<String> {
        let mut problems = Vec::new();
        let (before, after) = (middle.resident_kib, last.resident_kib.max(end.resident_kib));
        if after as f64 > before as f64 * GROWTH {
            problems.push(format!("resident memory grew from {before} KiB half-way through to {after} KiB"));
        }
        let beside = |sample: &Sample| sample.files.saturating_sub(sample.stats.total as usize);
        if beside(end) > beside(first) + SPARE_FILES {
            problems.push(format!("{} files beside connections, {} before", beside(end), beside(first)));
        }
        problems
    }

    /// Everybody was served, about as often as the others, and never waited for long.
    fn hunger(&self, shares: &[Share]) -> Vec<String> {
        let mut problems = Vec::new();
        let mean = self.served.load(Ordering::Relaxed) / shares.len().max(1) as u64;
        let least = shares.iter().map(|share| share.served).min().unwrap_or_default();
        let longest = shares.iter().map(|share| share.longest_wait).max().unwrap_or_default();
        println!("served per task: {mean} in the mean, {least} at least; unserved for {longest:.1?} at most");
        if least == 0 || least < mean / 3 {
            problems.push(format!("a task was served {least} times only"));
        }
        if longest > STARVED {
            problems.push(format!("a task was not served for {longest:?}"));
        }
        let strange = self.strange.load(Ordering::Relaxed);
        if strange > 0 {
            problems.push(format!("{strange} errors of another kind than connection"));
        }
        problems
    }

    /// What was acknowledged is there once, what is there was acknowledged or may be there, and nothing is there by half.
    async fn rows(&self, aside: &Client) -> Outcomes<Vec<String>> {
        const AT_ONCE: usize = 10_000;
        let (mut problems, mut counts) = (Vec::new(), [0_u64; 5]);
        let sql = "SELECT id, count(*) FROM written WHERE id >= $1 AND id < $2 GROUP BY id";
        for (index, states) in self.writes.states.chunks(AT_ONCE).enumerate() {
            let from = (index * AT_ONCE) as i64;
            let rows = aside.query(sql, &[&from, &(from + AT_ONCE as i64)]).await?;
            let there: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            for (id, state) in (from..).zip(states) {
                let (state, rows) = (state.load(Ordering::Relaxed), there.get(&id).copied().unwrap_or(0));
                counts[usize::from(state)] += 1;
                let is_right = match state {
                    state::DONE => rows == rows_of(id),
                    state::UNKNOWN => rows == rows_of(id) || rows == 0,
                    _ => rows == 0,
                };
                if !is_right && problems.len() < 20 {
                    problems.push(format!("write {id}: {rows} rows of {}, state {state}", rows_of(id)));
                }
            }
        }
        let left: i64 = aside.query_one("SELECT count(*) FROM written WHERE id < 0", &[]).await?.get(0);
        if left > 0 {
            problems.push(format!("{left} rows of transactions that failed"));
        }
        let [_, _, undone, done, unknown] = counts;
        println!("writes: {done} acknowledged, {undone} undone, {unknown} unknown or given up");
        Ok(problems)
    }

    fn sample(&self, when: &str, started: Instant) -> Outcomes<Sample> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse()?;
        let files = std::fs::read_dir("/proc/self/fd")?.count();
        let stats = self.pool.stats();
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        println!(
            "{when}, {:.0?}: {resident_kib} KiB resident, {} connections, {files} files, {} served, {} given up, {} killed",
            started.elapsed(),
            stats.total,
            count(&self.served),
            count(&self.dropped),
            count(&self.killed),
        );
        for (error, count) in &*self.errors.lock().unwrap_or_else(PoisonError::into_inner) {
            println!("  {count:6} {error}");
        }
        Ok(Sample { resident_kib, files, stats })
    }
}
