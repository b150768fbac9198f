//! Many runners, and runners that are cut off.

use super::killed::{Files, Next, Order, PATIENCE, Scene, finish, settled_client};
use super::*;

/// D4: on the files of `killed`, which build and drop indexes concurrently: nobody who waits may be in the way of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_runners_one_runs_and_nine_wait() {
    let slow = migrator(&[
        ("001_a", "CREATE TABLE a (); SELECT pg_sleep(0.2)", ""),
        ("002_b", "CREATE TABLE b ()", ""),
    ]);
    for (migrator, count) in [(slow, 2), (Files::new().migrator(), 3)] {
        let db = Database::new().await;
        let mut runners = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (client, migrator) = (db.client().await, migrator.clone());
            runners
                .spawn(async move { migrator.up(&client, Steps::All).await.expect("ends well").done.len() });
        }
        let mut done = runners.join_all().await;
        done.sort_unstable();
        assert_eq!(done, [0, 0, 0, 0, 0, 0, 0, 0, 0, count]);
        let client = db.client().await;
        assert_eq!(applied(&migrator, &client).await, count);
        assert!(states(&migrator, &client).await.iter().all(|state| *state == State::Completed));
    }
}

async fn applied(migrator: &Migrator, client: &Client) -> usize {
    let log = migrator.history(client).await.expect("history");
    log.iter().filter(|entry| entry.action == LogAction::Applied).count()
}

/// D4: processes, as a deployment starts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_processes_one_runs_and_nine_wait() {
    let files = Files::and_program();
    let scene = Scene::before(Order::Up, &files).await;
    let runs = (0..10).map(|_| files.run(&["migrate", "up"], scene.url()));
    let outputs = futures_util::future::join_all(runs).await;
    let mut ran = 0;
    for output in &outputs {
        let text = crate::local::program::text(output);
        assert!(output.status.success(), "{text}");
        ran += usize::from(text.contains("3 done in"));
    }
    assert_eq!(ran, 1);
    scene.settled().await;
    finish(&scene, Order::Up, "after ten processes".to_owned(), Next::Library).await;
}

/// D4: the one that runs is killed, and one of those that wait finishes its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_one_that_runs_is_killed_another_takes_over() {
    let files = Files::and_program();
    let scene = Scene::before(Order::Up, &files).await;
    let holder = settled_client(scene.database()).await;
    holder.batch_execute("SELECT pg_advisory_lock(23)").await.expect("held");
    let mut first = scene.start(Order::Up);
    scene.blocked("SELECT 'two'").await;
    let wait = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + PATIENCE;
        while scene.aside.one::<i64>(waiting, &[]).await.expect("activity") < 9 {
            assert!(Instant::now() < deadline, "nine wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        first.kill().await.expect("killed");
        holder.batch_execute("SELECT pg_advisory_unlock(23)").await.expect("open");
    };
    let runs = (0..9).map(|_| files.run(&["migrate", "up"], scene.url()));
    let (outputs, ()) = tokio::join!(futures_util::future::join_all(runs), wait);
    let mut ran = 0;
    for output in &outputs {
        let text = crate::local::program::text(output);
        assert!(output.status.success(), "{text}");
        ran += usize::from(text.contains("2 done in"));
    }
    assert_eq!(ran, 1, "the rest of the second file, and the third");
    scene.settled().await;
    let log = files.migrator().history(&scene.aside).await.expect("history");
    let has = |action| log.iter().filter(|entry| entry.action == action).count();
    assert_eq!((has(LogAction::Interrupted), has(LogAction::Resumed)), (1, 1), "{log:#?}");
    finish(&scene, Order::Up, "after nine that waited".to_owned(), Next::Library).await;
}

#[tokio::test]
async fn a_runner_gives_up_after_its_wait_and_says_who_is_in_the_way() {
    let db = Database::new().await;
    let (first, second) = (db.client().await, db.client().await);
    let told = Arc::new(Told::default());
    let settings = Settings { lock_wait: Duration::from_millis(300), ..Settings::default() };
    let impatient = real().settings(settings).progress(told.clone());
    let slow = migrator(&[("001_slow", "SELECT pg_sleep(1.5)", "")]);

    let pid: i32 = first.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    let runner = tokio::spawn(async move { slow.up(&first, Steps::All).await.map(|run| run.done.len()) });
    asleep(&second).await;
    let began = Instant::now();
    let error = impatient.up(&second, Steps::All).await.expect_err("locked");
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
    let client = db.client().await;
    let migrator = migrator(&[("001_a", "SELECT pg_advisory_unlock_all()", "")]);
    let error = migrator.up(&client, Steps::All).await.expect_err("lost");
    assert!(matches!(error, Error::LockLost { .. }), "{error:?}");
}

/// Old state, then goes on: on the same connection and on another one.
#[tokio::test]
async fn a_dropped_run_leaves_the_old_state_and_the_next_run_goes_on() {
    for same_connection in [true, false] {
        let db = Database::new().await;
        let (client, other) = (db.client().await, db.client().await);
        let pid: i32 = client.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
        let files = |pause| {
            migrator(&[("001_a", "CREATE TABLE a ()", "DROP TABLE a"), ("002_b", pause, "DROP TABLE b")])
        };
        let slow = files("CREATE TABLE b (); SELECT pg_sleep(0.6);");
        cut_off(&other, slow.up(&client, Steps::All)).await;
        assert_eq!(states(&slow, &other).await, [State::Completed, State::Pending]);

        let fast = files("CREATE TABLE b ();");
        let next = if same_connection { &client } else { &other };
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
    let (first, second) = (db.client().await, db.client().await);
    let slow = migrator(&[("001_slow", "SELECT pg_sleep(0.6)", "")]);
    let runner = {
        let slow = slow.clone();
        tokio::spawn(async move { slow.up(&first, Steps::All).await.map(|_| first) })
    };
    asleep(&second).await;
    let wait = slow.up(&second, Steps::All);
    tokio::time::timeout(Duration::from_millis(150), wait).await.expect_err("dropped while waiting");
    let first = runner.await.expect("task").expect("ends well");
    slow.up(&first, Steps::All).await.expect("the lock is free");
}

#[tokio::test]
async fn a_terminated_connection_leaves_the_old_state_and_the_next_run_goes_on() {
    let db = Database::new().await;
    let (client, killer) = (db.client().await, db.client().await);
    let migrator = migrator(&[
        ("001_a", "CREATE TABLE a ()", ""),
        ("002_b", "CREATE TABLE b ();\nSELECT pg_sleep(0.5);", ""),
    ]);
    let pid: i32 = client.one("SELECT pg_backend_pid()", &[]).await.expect("pid");
    let kill = async {
        asleep(&killer).await;
        killer.one::<bool>("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate")
    };
    let (result, _) = tokio::join!(migrator.up(&client, Steps::All), kill);
    let error = result.expect_err("terminated");
    assert!(full_text(&error).starts_with("002_b.sql:2 failed: terminating connection"), "{error:?}");

    let client = db.client().await;
    assert_eq!(states(&migrator, &client).await, [State::Completed, State::Pending]);
    assert_eq!(migrator.up(&client, Steps::All).await.expect("goes on").done.len(), 1);
}

#[tokio::test]
async fn a_run_can_be_spawned() {
    let db = Database::new().await;
    let (client, connector) = (db.client().await, db.connector());
    let spawned = tokio::spawn(async move {
        real().up(&client, Steps::All).await?;
        real().verify(&client, &connector).await
    });
    assert!(spawned.await.expect("task").expect("verifies").clean);
}

/// The session's lock would be given to it twice.
#[tokio::test]
async fn two_runs_on_one_connection_come_one_after_the_other() {
    let db = Database::new().await;
    let client = db.client().await;
    let slow = migrator(&[("001_a", "CREATE TABLE a (); SELECT pg_sleep(0.3)", "")]);
    let (first, second) = tokio::join!(slow.up(&client, Steps::All), slow.up(&client, Steps::All));
    let done = [first, second].map(|run| run.expect("ends well").done.len());
    assert_eq!(done.iter().sum::<usize>(), 1, "{done:?}");
}

/// A connection of our own pool serves as well as any.
#[tokio::test]
async fn a_connection_that_was_taken_out_of_the_pool_can_migrate() {
    let database = support::database().await;
    let pool = support::pool(&database, |_| {}).await;
    let client = pool.acquire().await.expect("a connection").detach();
    let run = real().up(&client, Steps::All).await.expect("up");
    assert_eq!(run.done.len(), real().migrations().len());
}
