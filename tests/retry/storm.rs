//! What all callers together do to a server that is away: the retries must not keep it down, and must not keep them from coming
//! back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use db_app::{Database, TxOptions};
use db_core::Executor;
use db_testkit::{Direction, Fault, Proxy, Refusal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::ledger::{Case, Effort, Events, alone, open, publish};
use crate::support::{client, database};

const CALLERS: usize = 500;

/// Seconds for which the calls of better times pay for retries: what comes after them is what an outage costs that lasts.
const BUDGET_WINDOW: f64 = 10.0;

/// What callers and the wire counted, to be compared over a span of time.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    calls: u64,
    acknowledged: u64,
    on_the_wire: u64,
    retries: u64,
}

impl Seen {
    fn attempts_per_second(self, later: Self) -> f64 {
        (later.attempts() - self.attempts()) as f64 / (later.at - self.at).as_secs_f64()
    }

    fn attempts(self) -> u64 {
        self.calls + self.retries
    }

    fn per_second(self, later: Self) -> f64 {
        (later.acknowledged - self.acknowledged) as f64 / (later.at - self.at).as_secs_f64()
    }
}

/// How the way to the server is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// No connection is served. Callers run single statements.
    Refused,
    /// Connections are served, and reset at BEGIN. Callers run transactions, which are run again.
    Broken,
}

/// E5, E9: with the way to the server refused under 500 callers, attempts stay within 1.3 for each call, and 10 s after it is
/// open again at least 80 % as much is done as before.
#[tokio::test]
async fn a_storm_of_connections() {
    storm(Case::new("connection storm"), Outage::Refused).await;
}

/// E5, E9: the same when everything that callers begin fails, and may be run again.
#[tokio::test]
async fn a_storm_of_retries() {
    storm(Case::new("retry storm"), Outage::Broken).await;
}

async fn storm(mut case: Case, outage: Outage) {
    let _alone = alone().await;
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let table = "CREATE TABLE hit (n bigint NOT NULL)";
    client(database.url()).await.batch_execute(table).await.expect("a table");
    let (events, _listening) = Events::listen();
    case.settings = vec![("DB_QUEUE_LIMIT", "1000".to_owned())];
    let db = open(&proxy.url(), &case).await;
    let told = Arc::<Told>::default();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(db.clone(), outage, Arc::clone(&told)));
    }
    let look = || Seen {
        at: Instant::now(),
        calls: told.calls.load(Ordering::Relaxed),
        acknowledged: told.acknowledged.load(Ordering::Relaxed),
        // An attempt is a connection that is asked for, or one that is there and used.
        on_the_wire: match outage {
            Outage::Refused => proxy.counts().accepted + proxy.counts().requests,
            Outage::Broken => proxy.counts().accepted,
        },
        retries: events.retried.load(Ordering::Relaxed),
    };
    // What is measured is measured over spans of time.
    let span = async |seconds: f64| {
        let from = look();
        sleep(Duration::from_secs_f64(seconds)).await;
        (from, look())
    };
    // Connections are opened, and statements prepared.
    span(1.0).await;
    let (from, to) = span(3.0).await;
    let before = from.per_second(to);

    match outage {
        Outage::Refused => {
            proxy.refuse(Refusal::Reset);
            proxy.cut();
        }
        Outage::Broken => drop(proxy.inject(Fault::cut_after(Direction::ToServer, 0).from_begin())),
    }
    let broken = look();
    let lasts = Effort::seconds_or(6.0);
    let (settled, healed) = match outage {
        Outage::Refused => span(lasts).await,
        Outage::Broken => {
            span(BUDGET_WINDOW).await;
            span((lasts - BUDGET_WINDOW).max(4.0)).await
        }
    };
    proxy.heal();
    proxy.withdraw_all();
    let (mut best, mut back) = (0.0_f64, None);
    while back.is_none() && healed.at.elapsed() < Duration::from_secs(10) {
        let (from, to) = span(1.0).await;
        best = best.max(from.per_second(to) / before);
        back = Some(to.at - healed.at).filter(|_| best >= 0.8);
    }
    let end = look();
    told.is_over.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.expect("a caller panicked");
    }
    db.close(Duration::from_secs(10)).await.expect("nobody holds a connection");

    let per_call = |from: Seen, number: fn(Seen) -> u64| {
        (number(healed) - number(from)) as f64 / (healed.calls - from.calls).max(1) as f64
    };
    let attempts = per_call(settled, Seen::attempts);
    let attempts_from_the_start = per_call(broken, Seen::attempts);
    let on_the_wire = per_call(settled, |seen| seen.on_the_wire);
    let pressure = broken.attempts_per_second(healed) / from.attempts_per_second(to);
    publish(&serde_json::json!({
        "fault": case.fault, "calls": end.calls, "acknowledged": end.acknowledged, "fired": 1, "retries": end.retries,
        "again_seconds": back.map(|back| back.as_secs_f64()), "on_the_wire_per_call": on_the_wire,
        "attempts_per_call": attempts, "attempts_per_call_from_the_start": attempts_from_the_start,
        "attempts_per_second_of_before": pressure, "goodput_of_before": best, "per_second_before": before,
    }));
    assert!(healed.calls - broken.calls > CALLERS as u64, "callers hung: {broken:?}, {healed:?}");
    assert!(attempts <= 1.3, "{attempts:.2} attempts for each call: see the retry budget");
    assert!(pressure <= 1.3, "{pressure:.2} times as many attempts as before the outage");
    assert!(on_the_wire <= 1.3, "{on_the_wire:.2} for each call on the wire: see the pool's connector");
    assert!(back.is_some(), "only {:.0} % of {before:.0}/s within 10 s of the recovery", best * 100.0);
}

/// What all callers were told.
#[derive(Debug, Default)]
struct Told {
    calls: AtomicU64,
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

async fn call(db: Database, outage: Outage, told: Arc<Told>) {
    let options = TxOptions::new().deadline(Duration::from_secs(2)).retry();
    while !told.is_over.load(Ordering::Relaxed) {
        told.calls.fetch_add(1, Ordering::Relaxed);
        let insert = "INSERT INTO hit VALUES (1)";
        let hit = match outage {
            Outage::Refused => db.execute(insert, &[]).await,
            Outage::Broken => db.tx_with(&options, async |tx| tx.execute(insert, &[]).await).await,
        };
        told.acknowledged.fetch_add(u64::from(hit.is_ok()), Ordering::Relaxed);
        if hit.is_err() {
            // A service whose request failed has to be sent another one.
            sleep(Duration::from_millis(100)).await;
        }
    }
}
