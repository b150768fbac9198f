//! Seeds: put in once, harmless ever after, and refused when that cannot be promised.

use super::*;

const REAL_SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../seeds");

/// Seeds from files below a folder.
fn seeds(files: &[(&str, &str)], environment: &str) -> Seeds {
    let dir = tempfile::tempdir().expect("directory");
    for (file, text) in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }
    Seeds::from_dir(dir.path(), environment).expect("seeds")
}

fn tables(run: &SeedRun) -> Vec<String> {
    let show = |table: &SeedTable| {
        format!("{} +{} ~{} -{}", table.table, table.inserted, table.updated, table.deleted)
    };
    run.done.iter().flat_map(|done| done.tables.iter().map(show)).collect()
}

const T: (&str, &str, &str) =
    ("001_t", "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (n int)", "");

/// A9: the seeds of this repository, for the environment that they are for and no other.
#[tokio::test]
async fn the_real_seeds_are_put_in_once() {
    let db = Database::new().await;
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    let load = |environment: &str| Seeds::from_dir(REAL_SEEDS, environment).expect("seeds");

    let production = real().seed(&client, &load("production")).await.expect("nothing to do");
    assert!(production.done.is_empty());
    let first = real().seed(&client, &load("development")).await.expect("seeds");
    assert_eq!(first.environment, "development");
    assert_eq!(first.done[0].file, "development/001_users.sql");
    assert_eq!(tables(&first), ["public.refresh_tokens +1 ~0 -0", "public.users +5 ~0 -0"]);
    let kinds = "SELECT DISTINCT format('%s %s', role, zone) FROM users ORDER BY 1";
    let expect = ["admin ", "caregiver north", "caregiver south", "coordinator north", "coordinator south"];
    assert_eq!(texts(&client, kinds).await, expect);

    client.batch_execute("UPDATE users SET zone = 'mine'").await.expect("somebody edits");
    let again = real().seed(&client, &load("development")).await.expect("seeds again");
    assert_eq!(tables(&again), Vec::<String>::new());
    assert_eq!(
        client.one::<i64>("SELECT count(*) FROM users WHERE zone = 'mine'", &[]).await.expect("kept"),
        5
    );
    assert!(db.verify(&real()).await.clean);
}

/// A9: common files and those of the environment in one order, each told.
#[tokio::test]
async fn files_run_in_order_and_are_told() {
    let db = Database::new().await;
    let client = db.client().await;
    let told = Arc::new(Told::default());
    let migrator = migrator(&[T]).progress(told.clone());
    migrator.up(&client, Steps::All).await.expect("up");
    let insert = |id: i32| format!("INSERT INTO t SELECT {id}, count(*) FROM t ON CONFLICT DO NOTHING");
    let update = "SET search_path = pg_catalog; INSERT INTO public.t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n";
    let files = [
        ("1_a.sql", insert(1)),
        ("3_c.sql", update.to_owned()),
        ("test/2_b.sql", insert(2)),
        ("development/2_d.sql", insert(3)),
    ];
    let files: Vec<_> = files.iter().map(|(file, text)| (*file, text.as_str())).collect();
    let run = migrator.seed(&client, &seeds(&files, "test")).await.expect("seeds");
    assert_eq!(tables(&run), ["public.t +1 ~0 -0", "public.t +1 ~0 -0", "public.t +0 ~1 -0"]);
    assert_eq!(texts(&client, "SELECT format('%s %s', id, n) FROM t ORDER BY id").await, ["1 5", "2 1"]);
    let lines = told.lines();
    assert_eq!(lines[lines.len() - 3..], ["seeded 1_a.sql", "seeded test/2_b.sql", "seeded 3_c.sql"]);
    let json = serde_json::to_value(&run).expect("json");
    assert_eq!(json["done"][0]["tables"][0]["inserted"], 1);
    assert!(json["done"][0]["duration_ms"].is_u64());
}

/// A9: what changes more rows when it runs again is refused, and nothing of it stays.
#[tokio::test]
async fn a_seed_that_is_not_idempotent_is_refused() {
    let db = Database::new().await;
    let client = db.client().await;
    let told = Arc::new(Told::default());
    let migrator = migrator(&[T]).progress(told.clone());
    migrator.up(&client, Steps::All).await.expect("up");
    client.batch_execute("INSERT INTO u VALUES (7), (8); ANALYZE u").await.expect("rows");
    let advice = "use ON CONFLICT DO NOTHING or WHERE NOT EXISTS";
    let check = async |sql: &str, expect: &str| {
        let seeds = seeds(&[("1_a.sql", sql)], "test");
        let error = migrator.seed(&client, &seeds).await.expect_err(sql);
        assert_eq!(full_text(&error), expect.replace("ADVICE", advice), "{sql}");
        let left = "SELECT (SELECT count(*) FROM t) + (SELECT sum(n) FROM u)";
        assert_eq!(texts(&client, &format!("SELECT ({left})::text")).await, ["15"], "{sql}");
    };
    check(
        "INSERT INTO u SELECT generate_series(1, 3)",
        "1_a.sql is not idempotent: run again it inserts 3 rows into public.u; ADVICE",
    )
    .await;
    check(
        "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t",
        "1_a.sql is not idempotent: run again it inserts 1 row into public.t; ADVICE",
    )
    .await;
    check(
        "DELETE FROM u; INSERT INTO u VALUES (1)",
        "1_a.sql is not idempotent: run again it inserts 1 row into public.u and deletes 1 row from public.u; ADVICE",
    )
    .await;
    check(
        "TRUNCATE u; INSERT INTO u VALUES (1), (2)",
        "1_a.sql is not idempotent: run again it inserts 2 rows into public.u; ADVICE",
    )
    .await;
    check(
        "SELECT 1;\nINSERT INTO t VALUES (1, 1)",
        "1_a.sql:2 is not idempotent: run again it fails; ADVICE: duplicate key value violates unique constraint \"t_pkey\" (23505)",
    )
    .await;
    // The first run's own failure is the file's, not that of its idempotency.
    check("SELECT 1;\nINSERT INTO v VALUES (1)", "1_a.sql:2 failed: relation \"v\" does not exist (42P01)")
        .await;
    assert!(told.lines().iter().all(|line| !line.starts_with("seeded")));
    assert!(told.lines().contains(&"failed 1_a.sql".to_owned()));

    // Those before it stay, and the lock is free.
    let good = "INSERT INTO t VALUES (9) ON CONFLICT DO NOTHING";
    let both = seeds(&[("1_a.sql", good), ("2_b.sql", "INSERT INTO u VALUES (1)")], "test");
    migrator.seed(&db.client().await, &both).await.expect_err("the second");
    assert_eq!(texts(&client, "SELECT id::text FROM t").await, ["9"]);
}

/// A9: the proof leaves nothing behind but what the first run did, with the session as it was.
#[tokio::test]
async fn the_second_run_leaves_nothing() {
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[T]);
    migrator.up(&client, Steps::All).await.expect("up");
    client.batch_execute("SET work_mem = '5MB'").await.expect("setting");
    let sql = "SET work_mem = '9MB'; SET ROLE pg_read_all_data; RESET ROLE; CREATE TEMP TABLE IF NOT EXISTS names (n int);
               INSERT INTO names VALUES (1); INSERT INTO t VALUES (1, 0) ON CONFLICT DO NOTHING; UPDATE t SET n = n + 1;
               SET ROLE pg_monitor";
    // An update is allowed, so that what it does must be done once.
    let run = migrator.seed(&client, &seeds(&[("1_a.sql", sql)], "test")).await.expect("seeds");
    assert_eq!(tables(&run), ["public.t +1 ~1 -0"]);
    assert_eq!(texts(&client, "SELECT n::text FROM t").await, ["1"]);
    let session = "SELECT format('%s %s', current_setting('work_mem'), current_user = session_user)";
    assert_eq!(texts(&client, session).await, ["5MB t"]);
}

/// A9: a temporary table is gone in the next session, and so it is for the second run.
#[tokio::test]
async fn a_seed_may_use_temporary_tables() {
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[T]);
    migrator.up(&client, Steps::All).await.expect("up");
    let sql = "CREATE TEMP TABLE names (n int) ON COMMIT DROP; INSERT INTO names VALUES (1);
               INSERT INTO t SELECT n, n FROM names ON CONFLICT DO NOTHING; DECLARE c CURSOR FOR SELECT 1";
    let both = seeds(&[("1_a.sql", sql), ("2_b.sql", sql)], "test");
    let run = migrator.seed(&client, &both).await.expect("seeds");
    assert_eq!(tables(&run), ["public.t +1 ~0 -0"]);
}

/// A9: seeds are written for the newest schema.
#[tokio::test]
async fn seeds_wait_for_the_migrations() {
    let db = Database::new().await;
    let client = db.client().await;
    let two = migrator(&[T, ("002_v", "CREATE TABLE v ()", "")]);
    let seeds = seeds(&[("1_a.sql", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")], "test");
    let check = async |expect: &str| {
        let error = two.seed(&client, &seeds).await.expect_err(expect);
        assert_eq!(error.to_string(), expect);
    };
    let rest = "pending, and seeds are written for the newest schema: migrate first";
    check(&format!("migrations 001, 002 are {rest}")).await;
    two.up(&client, Steps::Count(1)).await.expect("up");
    check(&format!("migration 002 is {rest}")).await;
    two.up(&client, Steps::All).await.expect("up");
    two.seed(&client, &seeds).await.expect("seeds");
}

/// A9: two that seed at once take turns.
#[tokio::test]
async fn seeds_run_under_the_migration_lock() {
    let db = Database::new().await;
    let (one, other) = (db.client().await, db.client().await);
    let migrator = migrator(&[T]);
    migrator.up(&one, Steps::All).await.expect("up");
    let sql = "INSERT INTO t SELECT 1, 1 WHERE NOT EXISTS (SELECT FROM t); SELECT pg_sleep(0.1)";
    let seeds = seeds(&[("1_a.sql", sql)], "test");
    let (first, second) = tokio::join!(migrator.seed(&one, &seeds), migrator.seed(&other, &seeds));
    let mut tables = [tables(&first.expect("first")), tables(&second.expect("second"))].concat();
    tables.sort();
    assert_eq!(tables, ["public.t +1 ~0 -0"]);
}

/// A9: dropped in the middle it leaves neither rows nor the lock.
#[tokio::test]
async fn a_seed_that_is_dropped_leaves_nothing() {
    let db = Database::new().await;
    let (client, watcher) = (db.client().await, db.client().await);
    let migrator = migrator(&[T]);
    migrator.up(&client, Steps::All).await.expect("up");
    let slow = seeds(&[("1_a.sql", "INSERT INTO u VALUES (1); SELECT pg_sleep(0.5)")], "test");
    cut_off(&watcher, migrator.seed(&client, &slow)).await;
    let quick = seeds(&[("1_a.sql", "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")], "test");
    migrator.seed(&watcher, &quick).await.expect("the lock is free");
    assert!(texts(&client, "SELECT n::text FROM u").await.is_empty());
}

/// A9: without the server's counters nothing is proven, and nothing is done.
#[tokio::test]
async fn without_counters_nothing_is_promised() {
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[T]);
    migrator.up(&client, Steps::All).await.expect("up");
    client.batch_execute("SET track_counts = off").await.expect("setting");
    let seeds = seeds(&[("1_a.sql", "INSERT INTO u VALUES (1)")], "test");
    let error = migrator.seed(&client, &seeds).await.expect_err("cannot tell");
    assert!(error.to_string().starts_with("the server's track_counts is off"), "{error}");
}
