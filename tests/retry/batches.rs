//! Batches of the composed `Database` when the way to the server fails, or a race is lost: run again or resolved by the rules of
//! other transactions.

use std::time::Duration;

use db_app::{Database, Isolation, Resolution, Resolver, TxOptions};
use db_core::{Answer, Batch, Error, Outcome, Phase, Query, SqlState};
use db_testkit::{Direction, End, Fault};
use tokio::time::Instant;

use super::database::{behind_a_proxy, rows};
use crate::support::{client, eventually};

const INSERT: Batch<'static> = &[("INSERT INTO t VALUES (1)", &[]), ("SELECT count(*) FROM t", &[])];

async fn insert(db: &Database, options: &TxOptions) -> Result<Vec<Answer>, Error> {
    db.batch_with(options, INSERT).await
}

/// The same API on all, and nothing to do is nothing to ask.
#[tokio::test]
async fn a_batch_is_committed_once() {
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let answers = db.batch(INSERT).await.expect("committed");
    let [inserted, counted]: [Answer; 2] = answers.try_into().expect("two");
    assert_eq!((inserted.rows_affected(), counted.one::<i64>().expect("a row")), (1, 1));
    assert!(db.batch(&[]).await.expect("nothing").is_empty());
    let mut conn = db.acquire().await.expect("a connection");
    conn.batch(INSERT).await.expect("committed");
    db.tx(async |tx| tx.batch(INSERT).await).await.expect("committed");
    assert_eq!(rows(&database).await, 3);
}

/// E5: what became of it is found out, and it is there once. Without its answers it is an error, which says that it is committed.
#[tokio::test]
async fn a_lost_acknowledgement_is_found_to_be_one() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for (resolver, end) in
        [Resolver::Marker, Resolver::Xid].into_iter().flat_map(|it| [(it, End::Reset), (it, End::Close)])
    {
        let options = TxOptions::new().retry().resolver(resolver);
        insert(&db, &options).await.expect("prepared");
        let before = rows(&database).await;
        let lost = proxy.inject(Fault::lost_acknowledgement().nth(1).end(end));
        match insert(&db, &options).await {
            Ok(answers) => assert_eq!(answers.len(), 2),
            Err(error) => {
                assert_eq!((error.outcome(), error.phase()), (Outcome::Executed, Phase::Commit), "{error}");
                assert!(error.to_string().starts_with("committed, but the answers are lost"), "{error}");
            }
        }
        assert_eq!((rows(&database).await, lost.fired()), (before + 1, 1), "{resolver:?}");
    }
}

/// E5: what never arrived is run again.
#[tokio::test]
async fn a_lost_commit_is_run_again() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for resolver in [Resolver::Marker, Resolver::Xid] {
        let before = rows(&database).await;
        let lost = proxy.inject(Fault::lost_commit().nth(1));
        // The marker's own table may be made by what is struck.
        insert(&db, &TxOptions::new().retry().resolver(resolver)).await.expect("committed");
        assert_eq!((rows(&database).await, lost.fired()), (before + 1, 1), "{resolver:?}");
    }
    proxy.inject(Fault::lost_commit().nth(1));
    let error = insert(&db, &TxOptions::new().resolver(Resolver::Marker)).await.expect_err("not committed");
    assert_eq!(error.outcome(), Outcome::RolledBack, "{error}");
    proxy.inject(Fault::lost_commit().nth(1));
    let error = insert(&db, &TxOptions::new().retry()).await.expect_err("in doubt");
    assert_eq!((error.outcome(), error.in_doubt()), (Outcome::Unknown, None), "{error}");
    assert_eq!(rows(&database).await, 2);
}

/// The marker is in the same round trip as everything else.
#[tokio::test]
async fn a_marker_costs_no_round_trip() {
    let (_database, proxy, db) = behind_a_proxy("1").await;
    let options = TxOptions::new().resolver(Resolver::Marker);
    insert(&db, &options).await.expect("prepared");
    db.one::<i32>("SELECT 7", &[]).await.expect("prepared");
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.delay(direction, Duration::from_millis(50));
    }
    let (mut single, mut batch) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let began = Instant::now();
        db.one::<i32>("SELECT 7", &[]).await.expect("a value");
        single = single.min(began.elapsed());
        let began = Instant::now();
        insert(&db, &options).await.expect("committed");
        batch = batch.min(began.elapsed());
    }
    assert!(batch < single.mul_f64(1.5), "{batch:?} for a batch, {single:?} for a statement");
}

/// D1, E5: who loses a race runs again, and sees what the winner did.
#[tokio::test]
async fn a_lost_race_is_run_again() {
    let (database, _proxy, db) = behind_a_proxy("4").await;
    let mut aside = client(database.url()).await;
    aside.batch_execute("INSERT INTO t VALUES (0)").await.expect("a row");
    let statements: Batch<'_> = &[("SELECT n FROM t", &[]), ("UPDATE t SET n = n + 1 RETURNING n", &[])];
    for (options, expect) in [
        (TxOptions::new().isolation(Isolation::RepeatableRead), None),
        (TxOptions::new().isolation(Isolation::RepeatableRead).retry(), Some(12)),
    ] {
        let other = aside.transaction().await.expect("begin");
        other.execute("UPDATE t SET n = n + 10", &[]).await.expect("locked");
        let waits = async {
            let side = client(database.url()).await;
            let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            eventually("it waits", async || !side.query(waiting, &[]).await.expect("look").is_empty()).await;
            if expect.is_some() {
                other.execute("UPDATE t SET n = 11", &[]).await.expect("changed");
            }
            other.commit().await.expect("the other wins");
        };
        let (result, ()) = tokio::join!(db.batch_with(&options, statements), waits);
        match (result, expect) {
            (Ok(mut answers), Some(n)) => assert_eq!(answers.remove(1).one::<i32>().expect("a row"), n),
            (Err(error), None) => {
                assert_eq!(error.sqlstate(), Some(SqlState::SERIALIZATION_FAILURE), "{error}")
            }
            (result, expect) => panic!("{result:?} in place of {expect:?}"),
        }
    }
}

/// One deadline bounds it, and who was in doubt can ask later.
#[tokio::test]
async fn who_is_left_in_doubt_can_ask_later() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    for (fault, expect) in [
        (Fault::lost_acknowledgement(), Resolution::Committed),
        (Fault::lost_commit(), Resolution::RolledBack),
    ] {
        insert(&db, &TxOptions::new().resolver(Resolver::Marker)).await.expect("the way is open");
        let before = rows(&database).await;
        let lost = proxy.inject(fault.nth(1).end(End::Silence));
        let limit = Duration::from_secs(2);
        let options = TxOptions::new().retry().deadline(limit).resolver(Resolver::Marker);
        let began = Instant::now();
        let stalling = async {
            proxy.until(|counts| counts.fired > 0 && lost.fired() == 1).await;
            proxy.stall();
        };
        let (result, ()) = tokio::join!(insert(&db, &options), stalling);
        assert!(began.elapsed() <= limit.mul_f64(1.1), "{:?}", began.elapsed());
        let error = result.expect_err("nobody answers");
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let name = error.in_doubt().expect("a name to ask for").to_owned();
        proxy.heal();
        assert_eq!(db.resolve(&name, Duration::from_secs(20)).await.expect("an answer"), expect);
        assert_eq!(rows(&database).await, before + i64::from(expect == Resolution::Committed));
        db.rotate();
    }
}

/// What is refused for good is asked once.
#[tokio::test]
async fn a_write_in_a_read_only_batch_is_refused() {
    let (database, proxy, db) = behind_a_proxy("4").await;
    insert(&db, &TxOptions::new()).await.expect("prepared");
    let before = proxy.counts().commits;
    let error = insert(&db, &TxOptions::new().read_only().retry()).await.expect_err("read only");
    assert_eq!(error.sqlstate(), Some(SqlState::READ_ONLY_TRANSACTION));
    assert_eq!((proxy.counts().commits - before, rows(&database).await), (1, 1));
}
