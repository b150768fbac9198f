//! Many runners, and runners that are cut off.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_runners_one_runs_and_nine_wait() {
    let db = Database::new().await;
    let migrator = migrator(&[
        ("001_a", "CREATE TABLE a (); SELECT pg_sleep(0.2)", ""),
        ("002_b", "CREATE TABLE b ()", ""),
    ]);
    let mut runners = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (mut client, migrator) = (db.client().await, migrator.clone());
        runners
            .spawn(async move { migrator.up(&mut client, Steps::All).await.expect("ends well").done.len() });
    }
    let mut done = runners.join_all().await;
    done.sort_unstable();
    assert_eq!(done, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(migrator.history(&db.client().await).await.expect("history").len(), 2);
}

#[tokio::test]
async fn a_runner_gives_up_after_its_wait_and_says_who_is_in_the_way() {
    let db = Database::new().await;
    let (mut first, mut second) = (db.client().await, db.client().await);
    let told = Arc::new(Told::default());
    let settings = Settings { lock_wait: Duration::from_millis(300), ..Settings::default() };
    let impatient = real().settings(settings).progress(told.clone());
    let slow = migrator(&[("001_slow", "SELECT pg_sleep(1.5)", "")]);

    let pid: i32 = first.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    let runner = tokio::spawn(async move { slow.up(&mut first, Steps::All).await.map(|run| run.done.len()) });
    asleep(&second).await;
    let began = Instant::now();
    let error = impatient.up(&mut second, Steps::All).await.expect_err("locked");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let expect = format!("; the lock is held by server process {pid} of ");
    assert!(error.to_string().contains(&expect), "{error}");
    assert!(error.to_string().ends_with(", \"migrate-test\""), "{error}");
    assert_eq!(told.lines(), ["waiting for Some(\"migrate-test\")"]);
    assert_eq!(runner.await.expect("task").expect("slow one ends well"), 1);
}

#[tokio::test]
async fn a_lost_lock_is_noticed() {
    let db = Database::new().await;
    let mut client = db.client().await;
    let migrator = migrator(&[("001_a", "SELECT pg_advisory_unlock_all()", "")]);
    let error = migrator.up(&mut client, Steps::All).await.expect_err("lost");
    assert!(matches!(error, Error::LockLost { .. }), "{error:?}");
}

/// Old state, then goes on: on the same connection and on another one.
#[tokio::test]
async fn a_dropped_run_leaves_the_old_state_and_the_next_run_goes_on() {
    for same_connection in [true, false] {
        let db = Database::new().await;
        let (mut client, mut other) = (db.client().await, db.client().await);
        let pid: i32 = client.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
        let files = |pause| {
            migrator(&[("001_a", "CREATE TABLE a ()", "DROP TABLE a"), ("002_b", pause, "DROP TABLE b")])
        };
        let slow = files("CREATE TABLE b (); SELECT pg_sleep(0.6);");
        cut_off(&other, slow.up(&mut client, Steps::All)).await;
        assert_eq!(states(&slow, &other).await, [State::Completed, State::Pending]);

        let fast = files("CREATE TABLE b ();");
        let next = if same_connection { &mut client } else { &mut other };
        let run = fast.up(next, Steps::All).await.expect("goes on");
        assert_eq!(run.done.len(), 1);
        assert_eq!(states(&fast, &other).await, [State::Completed, State::Completed]);
        let state = "SELECT state FROM pg_stat_activity WHERE pid = $1";
        let state: String = other.one(state, &[&pid]).await.expect("state");
        assert_eq!(state, "idle", "no transaction is left open");
    }
}

#[tokio::test]
async fn a_dropped_wait_leaves_no_lock() {
    let db = Database::new().await;
    let (mut first, mut second) = (db.client().await, db.client().await);
    let slow = migrator(&[("001_slow", "SELECT pg_sleep(0.6)", "")]);
    let runner = {
        let slow = slow.clone();
        tokio::spawn(async move { slow.up(&mut first, Steps::All).await.map(|_| first) })
    };
    asleep(&second).await;
    let wait = slow.up(&mut second, Steps::All);
    tokio::time::timeout(Duration::from_millis(150), wait).await.expect_err("dropped while waiting");
    let mut first = runner.await.expect("task").expect("ends well");
    slow.up(&mut first, Steps::All).await.expect("the lock is free");
}

#[tokio::test]
async fn a_terminated_connection_leaves_the_old_state_and_the_next_run_goes_on() {
    let db = Database::new().await;
    let (mut client, killer) = (db.client().await, db.client().await);
    let migrator = migrator(&[
        ("001_a", "CREATE TABLE a ()", ""),
        ("002_b", "CREATE TABLE b ();\nSELECT pg_sleep(0.5);", ""),
    ]);
    let pid: i32 = client.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    let kill = async {
        asleep(&killer).await;
        killer.one::<bool>("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate")
    };
    let (result, _) = tokio::join!(migrator.up(&mut client, Steps::All), kill);
    let error = result.expect_err("terminated");
    assert!(full_text(&error).starts_with("002_b.sql:2 failed: terminating connection"), "{error:?}");

    let mut client = db.client().await;
    assert_eq!(states(&migrator, &client).await, [State::Completed, State::Pending]);
    assert_eq!(migrator.up(&mut client, Steps::All).await.expect("goes on").done.len(), 1);
}

#[tokio::test]
async fn a_run_can_be_spawned() {
    let db = Database::new().await;
    let (mut client, connector) = (db.client().await, db.connector());
    let spawned = tokio::spawn(async move {
        real().up(&mut client, Steps::All).await?;
        real().verify(&mut client, &connector).await
    });
    assert!(spawned.await.expect("task").expect("verifies").clean);
}
