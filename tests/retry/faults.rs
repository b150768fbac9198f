//! Faults on the way between the pool and a server that is well. What happens to the server itself is in `own_server.rs` and
//! `local.rs`.

use std::time::Duration;

use db_app::{Isolation, Resolution};
use db_core::{Outcome, Query};
use db_pool::TxOptions;
use db_testkit::{Direction, End, Fault, Injected, Proxy, TestDatabase};
use tokio::time::{Instant, interval};

use super::ledger::{Belief, Case, Effort, Load, Order, Report, Way, alone, open};
use crate::support::{client, database, settings};

/// A database, a way to it that can be broken, and the load.
async fn load_through_a_proxy(case: Case) -> (TestDatabase, Proxy, Load) {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let load = Load::start(case, &proxy.url(), database.url()).await;
    (database, proxy, load)
}

/// Strikes so many times, most of them by a reset, some in silence.
async fn strike(case: Case, times: u64, fault: fn() -> Fault) -> Report {
    let (_database, proxy, load) = load_through_a_proxy(case).await;
    let effort = Effort::of(times);
    let faults = [
        proxy.inject(fault().sometimes(0.3, 1)),
        proxy.inject(fault().sometimes(0.05, 2).end(End::Close)),
        // Each of these costs its caller the rest of its time.
        proxy.inject(fault().sometimes(0.005, 3).end(End::Silence)),
    ];
    let fired = || faults.iter().map(Injected::fired).sum::<u64>();
    while effort.wants_more(fired()) {
        load.more(1).await;
    }
    proxy.withdraw_all();
    load.finish(fired()).await
}

/// D9, E5: a COMMIT that never arrives is known not to have happened.
#[tokio::test]
async fn a_lost_commit() {
    let _alone = alone().await;
    strike(Case::new("lost commit"), 1_000, Fault::lost_commit).await.must_hold();
}

/// D9, E5: a COMMIT whose acknowledgement is lost is known to have happened.
#[tokio::test]
async fn a_lost_acknowledgement() {
    let _alone = alone().await;
    strike(Case::new("lost acknowledgement"), 1_000, Fault::lost_acknowledgement).await.must_hold();
}

/// D9, E5: the same for transactions that are sent with their COMMIT in one go.
#[tokio::test]
async fn a_batch_whose_commit_is_lost() {
    let _alone = alone().await;
    let case = Case { way: Way::Batch, ..Case::new("lost commit of a batch") };
    strike(case, 1_000, Fault::lost_commit).await.must_hold();
}

/// D9, E5
#[tokio::test]
async fn a_batch_whose_acknowledgement_is_lost() {
    let _alone = alone().await;
    let case = Case { way: Way::Batch, ..Case::new("lost acknowledgement of a batch") };
    strike(case, 1_000, Fault::lost_acknowledgement).await.must_hold();
}

/// The ledger is no ornament: whoever takes what is unknown for a failure writes twice, and it says so.
#[tokio::test]
async fn the_ledger_finds_what_a_naive_retry_doubles() {
    let _alone = alone().await;
    let naive = Case { belief: Belief::ThatItFailed, ..Case::new("naive retry") };
    let report = strike(naive, 20, Fault::lost_acknowledgement).await;
    assert!(!report.verdict.doubled.is_empty(), "nothing was doubled: {report:?}");
}

/// And whoever takes it for a success loses.
#[tokio::test]
async fn the_ledger_finds_what_a_naive_success_loses() {
    let _alone = alone().await;
    let naive = Case { belief: Belief::ThatItIsDone, ..Case::new("naive success") };
    let report = strike(naive, 20, Fault::lost_commit).await;
    assert!(!report.verdict.lost.is_empty(), "nothing was lost: {report:?}");
}

/// A transaction whose BEGIN got no answer is not in doubt: it has no COMMIT.
#[tokio::test]
async fn a_lost_begin_leaves_nothing_in_doubt() {
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let pool = db_pool::Pool::open(proxy.config(), settings()).await.expect("a pool");
    let check = async |fault: Fault| {
        let lost = proxy.inject(fault.nth(1));
        let options = TxOptions::new().deadline(Instant::now() + Duration::from_millis(300));
        let error = pool.tx_with(&options, async |tx| tx.one::<i32>("SELECT 1", &[]).await).await;
        let error = error.expect_err("no answer");
        assert_eq!((error.outcome(), lost.fired()), (Outcome::RolledBack, 1), "{fault:?}: {error}");
    };
    for direction in [Direction::ToServer, Direction::ToClient] {
        check(Fault::cut_after(direction, 0).from_begin()).await;
        check(Fault::cut_after(direction, 0).from_begin().end(End::Silence)).await;
    }
}

/// Whoever asks until the last moment still says what to ask for later, on several threads as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resolver_without_an_answer_keeps_the_name() {
    let _alone = alone().await;
    let database = database().await;
    let proxy = Proxy::to(&database).await.expect("a proxy");
    let case = Case { deadline: Duration::from_secs(1), ..Case::new("") };
    let db = open(&proxy.url(), &case).await;
    db.tx_with(&case.options(), async |tx| tx.one::<i32>("SELECT 1", &[]).await).await.expect("prepared");
    // The COMMITs of those who ask are lost as well.
    let lost = proxy.inject(Fault::lost_commit().end(End::Silence));
    let calls = (0..20).map(|_| {
        let (db, options) = (db.clone(), case.options());
        tokio::spawn(
            async move { db.tx_with(&options, async |tx| tx.one::<i32>("SELECT 1", &[]).await).await },
        )
    });
    for call in calls.collect::<Vec<_>>() {
        let error = call.await.expect("no panic").expect_err("no answer");
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let name = error.in_doubt().unwrap_or_else(|| panic!("without a name: {error}")).to_owned();
        lost.withdraw();
        let resolution = db.resolve(&name, Duration::from_secs(10)).await.expect("asked later");
        assert_eq!(resolution, Resolution::RolledBack);
    }
}

/// D9, E5: a reset at each byte of a transaction, in both directions, the questions of the resolver included.
#[tokio::test]
async fn a_reset_at_every_byte() {
    let _alone = alone().await;
    let (_database, proxy, load) = load_through_a_proxy(Case::new("reset at every byte")).await;
    let usual = usual_length(&load, &proxy).await;
    let effort = Effort::of(1);
    let (mut rounds, mut fired) = (0, 0);
    while effort.wants_more(rounds) {
        fired += strike_first_transactions(&load, &proxy, usual).await;
        fired += strike_later_transactions(&load, &proxy, usual).await;
        rounds += 1;
    }
    load.finish(fired).await.must_hold();
}

/// D9, E5: the same of a batch, whose COMMIT is on its way from the first byte on.
#[tokio::test]
async fn a_reset_at_every_byte_of_a_batch() {
    let _alone = alone().await;
    let case = Case { way: Way::Batch, ..Case::new("reset at every byte of a batch") };
    let (_database, proxy, load) = load_through_a_proxy(case).await;
    let usual = usual_length(&load, &proxy).await;
    let effort = Effort::of(1);
    let (mut rounds, mut fired) = (0, 0);
    while effort.wants_more(rounds) {
        for (direction, usual) in usual {
            let struck = strike_until_the_end(&load, &proxy, direction).await;
            assert!(struck * 10 >= usual * 8, "{direction:?}: {struck} bytes were struck, of some {usual}");
            fired += struck;
        }
        rounds += 1;
    }
    load.finish(fired).await.must_hold();
}

/// One place after the other, until one that no transaction comes to.
async fn strike_until_the_end(load: &Load, proxy: &Proxy, direction: Direction) -> u64 {
    const ENOUGH: u64 = 200;
    for place in 0.. {
        let cut = proxy.inject(Fault::cut_after(direction, place).from_begin().nth(1));
        let before = load.ended();
        load.until("it is struck, or never", || cut.fired() == 1 || load.ended() - before > ENOUGH).await;
        cut.withdraw();
        if cut.fired() == 0 {
            return place;
        }
    }
    unreachable!("transactions have an end")
}

/// By direction: to the server, and to the client.
type Lengths = [(Direction, u64); 2];

/// Of a transaction on a connection that has its statements prepared: the average of many, which differ by some digits.
async fn usual_length(load: &Load, proxy: &Proxy) -> Lengths {
    let (before, calls) = (proxy.counts(), load.ended());
    load.more(500).await;
    let (after, calls) = (proxy.counts(), load.ended() - calls);
    [
        (Direction::ToServer, (after.bytes_to_server - before.bytes_to_server) / calls),
        (Direction::ToClient, (after.bytes_to_client - before.bytes_to_client) / calls),
    ]
}

/// All places at once: each transaction is struck where none was before, so that all connections are new, and their
/// transactions prepare their statements. Goes on until transactions are shorter than what is left.
async fn strike_first_transactions(load: &Load, proxy: &Proxy, usual: Lengths) -> u64 {
    let mut fired = 0;
    for (direction, usual) in usual {
        let at = |place| proxy.inject(Fault::cut_after(direction, place).from_begin().nth(1));
        let places: Vec<_> = (0..usual * 6).map(at).collect();
        let struck = || places.iter().map(Injected::fired).sum::<u64>();
        loop {
            let before = struck();
            load.more(100).await;
            if struck() == before {
                break;
            }
        }
        proxy.withdraw_all();
        let first_missed = places.iter().take_while(|place| place.fired() == 1).count() as u64;
        assert!(
            first_missed > usual,
            "{direction:?}: byte {first_missed} was not struck, of more than {usual}"
        );
        assert_eq!(
            first_missed,
            struck(),
            "{direction:?}: byte {first_missed} was not struck, but later ones"
        );
        fired += struck();
    }
    fired
}

/// One place at a time, while the other transactions go on: most connections have their statements prepared.
async fn strike_later_transactions(load: &Load, proxy: &Proxy, usual: Lengths) -> u64 {
    let mut fired = 0;
    for (direction, usual) in usual {
        for place in 0..usual {
            let cut = proxy.inject(Fault::cut_after(direction, place).from_begin().nth(1));
            load.until("this byte is struck", || cut.fired() == 1).await;
            fired += cut.fired();
        }
    }
    fired
}

/// D9, E5: sessions are ended one after the other, for 20 s.
#[tokio::test]
async fn a_storm_of_terminations() {
    let _alone = alone().await;
    let database = database().await;
    let load = Load::start(Case::new("terminate storm"), database.url(), database.url()).await;
    let killer = client(database.url()).await;
    let (began, effort) = (Instant::now(), Effort::of(1));
    let (mut fired, mut pace) = (0, interval(Duration::from_millis(20)));
    let lasts = Duration::from_secs(20);
    while effort.wants_more(u64::from(began.elapsed() > lasts)) {
        pace.tick().await;
        let one = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) one";
        fired += killer.query_one(one, &[]).await.expect("a victim").get::<_, i64>(0).unsigned_abs();
    }
    load.finish(fired).await.must_hold();
}

/// D9: transfers as single statements, on lanes, while sessions are ended one after the other, those of lanes among them: nothing
/// is lost or doubled, and nobody gets another one's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_lanes() {
    let _alone = alone().await;
    let database = database().await;
    // More workers would keep each other from being short.
    let case = Case { way: Way::Statement, workers: 4, ..Case::new("terminate storm on lanes") };
    let load = Load::start(case, database.url(), database.url()).await;
    let killer = client(database.url()).await;
    let (began, effort) = (Instant::now(), Effort::of(1));
    let (mut fired, mut pace) = (0, interval(Duration::from_millis(100)));
    let lasts = Duration::from_secs(10);
    while effort.wants_more(u64::from(began.elapsed() > lasts)) {
        pace.tick().await;
        // Those that were used last, which lanes are.
        let one = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'WITH given%'
                   ORDER BY state_change DESC LIMIT 1) one";
        fired += killer.query_one(one, &[]).await.expect("a victim").get::<_, i64>(0).unsigned_abs();
    }
    let lanes = load.database().stats().lanes;
    let report = load.finish(fired).await;
    report.must_hold();
    assert!(lanes.statements > 200, "on lanes: {lanes:?} of {report:?}");
}

/// D9, E5: transactions that conflict are run again, until they win or their attempts are used up.
#[tokio::test]
async fn serialization_conflicts() {
    let _alone = alone().await;
    let case =
        Case { isolation: Isolation::Serializable, accounts: 20, ..Case::new("serialization conflicts") };
    conflicts(case, "serialization failures").await;
}

/// D9, E5: transactions that wait for each other are run again.
#[tokio::test]
async fn deadlocks() {
    let _alone = alone().await;
    let case = Case { order: Order::AsTheyCome, accounts: 8, ..Case::new("deadlocks") };
    conflicts(case, "deadlocks").await;
}

async fn conflicts(case: Case, what: &str) {
    let database = database().await;
    // The server looks for them when somebody has waited for so long; a second is the default.
    let sql = format!("ALTER DATABASE {} SET deadlock_timeout = '20ms'", database.name());
    client(database.url()).await.batch_execute(&sql).await.expect("set");
    let load = Load::start(case, database.url(), database.url()).await;
    let effort = Effort::of(200);
    while effort.wants_more(load.retries()) {
        load.more(1).await;
    }
    assert!(load.retries() > 0, "no {what}");
    let fired = load.retries();
    load.finish(fired).await.must_hold();
}
