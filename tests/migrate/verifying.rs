//! Drift is found and named; the scratch database never stays.

use super::*;

/// The drift that `change` makes on a database with the real migrations.
async fn drift(change: &str) -> Vec<String> {
    let db = Database::new().await;
    let mut client = db.client().await;
    real().up(&mut client, Steps::All).await.expect("up");
    client.batch(change).await.expect(change);
    let verification = db.verify(&real()).await;
    assert!(!verification.clean || verification.drift().count() == 0);
    let show = |object: &db_migrate::Checked| {
        let state = match &object.state {
            ObjectState::Missing { .. } => "missing".to_owned(),
            ObjectState::Unexpected { .. } => "unexpected".to_owned(),
            ObjectState::Different { expected, actual } => format!("{expected} -> {actual}"),
            other => format!("{other:?}"),
        };
        format!("{} {}: {state}", object.kind, object.name)
    };
    verification.drift().map(show).collect()
}

/// A8: what is missing or differs is named, with both definitions.
#[tokio::test]
async fn each_kind_of_drift_is_named() {
    let check = async |change: &str, expect: &[&str]| assert_eq!(drift(change).await, expect, "{change}");
    check("SELECT 1", &[]).await;
    check("DROP INDEX users_zone_idx", &["index public.users_zone_idx: missing"]).await;
    check(
        "ALTER TABLE users ALTER zone TYPE varchar(20), ALTER role DROP NOT NULL, ALTER subscription_tier DROP DEFAULT",
        &[
            "column public.users.role: text NOT NULL -> text",
            "column public.users.subscription_tier: text NOT NULL DEFAULT 'free'::text -> text NOT NULL",
            "column public.users.zone: text -> character varying(20)",
        ],
    )
    .await;
    check("ALTER TABLE users ADD age int", &["column public.users.age: unexpected"]).await;
    check(
        "ALTER TABLE users DROP CONSTRAINT users_role_check",
        &["constraint public.users.users_role_check: missing"],
    )
    .await;
    check(
        "DROP TRIGGER users_set_updated_at ON users",
        &["trigger public.users.users_set_updated_at: missing"],
    )
    .await;
    let disabled = drift("ALTER TABLE users DISABLE TRIGGER users_set_updated_at").await;
    assert!(disabled.len() == 1 && disabled[0].ends_with("(disabled)"), "{disabled:?}");
    let unenforced = drift("ALTER TABLE refresh_tokens DISABLE TRIGGER ALL").await;
    assert!(unenforced[0].ends_with("(not enforced: its triggers are disabled)"), "{unenforced:?}");
    let function = "CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'";
    let replaced = drift(function).await;
    assert!(
        replaced.len() == 1 && replaced[0].starts_with("function public.set_updated_at(): "),
        "{replaced:?}"
    );
    check(
        "CREATE TABLE by_hand (id int PRIMARY KEY)",
        &[
            "table public.by_hand: unexpected",
            "column public.by_hand.id: unexpected",
            "constraint public.by_hand.by_hand_pkey: unexpected",
        ],
    )
    .await;
    check("CREATE SCHEMA theirs; CREATE TABLE theirs.t (id int)", &[]).await;
    check(
        "ALTER INDEX users_zone_idx RENAME TO users_zone",
        &["index public.users_zone: unexpected", "index public.users_zone_idx: missing"],
    )
    .await;
    // Whoever looks sets no search_path: the same definitions come out.
    let everything_gone = drift("DROP TABLE refresh_tokens, users; DROP FUNCTION set_updated_at").await;
    assert!(everything_gone.iter().all(|line| line.ends_with(": missing")) && everything_gone.len() > 30);
}

#[tokio::test]
async fn all_kinds_of_objects_are_compared() {
    let db = Database::new().await;
    let mut client = db.client().await;
    let up = "CREATE SCHEMA app;
        CREATE TYPE app.mood AS ENUM ('good', 'bad');
        CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
        CREATE TYPE app.pair AS (a int, b text);
        CREATE TYPE app.span AS RANGE (subtype = int);
        CREATE TABLE app.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m app.mood, p app.positive, s serial,
            twice int GENERATED ALWAYS AS (2) STORED) ;
        CREATE TABLE app.parted (at date NOT NULL) PARTITION BY RANGE (at);
        CREATE VIEW app.v AS SELECT id FROM app.t;
        CREATE MATERIALIZED VIEW app.mv AS SELECT id FROM app.t;
        CREATE INDEX mv_idx ON app.mv (id);
        CREATE SEQUENCE app.counter INCREMENT 5;
        ALTER TABLE app.t ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON app.t FOR SELECT USING (id > 0);
        CREATE AGGREGATE app.total (int) (sfunc = int4pl, stype = int, initcond = '0');
        CREATE FUNCTION app.one() RETURNS int RETURN 1;
        CREATE PROCEDURE app.nothing() BEGIN ATOMIC SELECT 1; END;";
    let migrator = migrator(&[("001_all", up, "DROP SCHEMA app CASCADE")]);
    migrator.up(&mut client, Steps::All).await.expect("up");
    let verification = db.verify(&migrator).await;
    assert!(verification.clean, "{:?}", verification.drift().collect::<Vec<_>>());
    let has = |kind: &str, name: &str| {
        verification.objects.iter().any(|object| object.kind.to_string() == kind && object.name == name)
    };
    for (kind, name) in [
        ("schema", "app"),
        ("type", "app.mood"),
        ("type", "app.positive"),
        ("type", "app.pair"),
        ("type", "app.span"),
        ("table", "app.parted"),
        ("view", "app.v"),
        ("view", "app.mv"),
        ("index", "app.mv_idx"),
        ("sequence", "app.counter"),
        ("sequence", "app.t_s_seq"),
        ("policy", "app.t.mine"),
        ("function", "app.total(integer)"),
        ("function", "app.nothing()"),
    ] {
        assert!(has(kind, name), "{kind} {name}");
    }
    assert!(!has("sequence", "app.t_id_seq"));

    client.batch("CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
        .await.expect("a partition made by a job");
    assert!(db.verify(&migrator).await.clean);
    let changes =
        "ALTER TYPE app.mood ADD VALUE 'so so' AFTER 'good'; ALTER TABLE app.t DISABLE ROW LEVEL SECURITY;
                   ALTER SEQUENCE app.counter INCREMENT 6; DROP POLICY mine ON app.t";
    client.batch(changes).await.expect("changes");
    let verification = db.verify(&migrator).await;
    let names: Vec<_> = verification.drift().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["app.mood", "app.t", "app.counter", "app.t.mine"]);
}

#[tokio::test]
async fn the_replay_uses_the_search_path_of_the_database() {
    let db = Database::new().await;
    let alter = format!("ALTER DATABASE {} SET search_path = app, public", db.name);
    db.client().await.batch(&alter).await.expect("search_path");
    let migrator = migrator(&[
        ("001_app", "CREATE SCHEMA app", "DROP SCHEMA app"),
        ("002_t", "CREATE TABLE t (id int)", "DROP TABLE t"),
    ]);
    migrator.up(&mut db.client().await, Steps::All).await.expect("up");
    let verification = db.verify(&migrator).await;
    assert!(verification.clean && verification.objects.iter().any(|object| object.name == "app.t.id"));
}

#[tokio::test]
async fn files_that_are_not_what_they_were_are_told() {
    let db = Database::new().await;
    let mut client = db.client().await;
    let a = ("001_a", "CREATE TABLE a ()", "");
    let b = ("002_b", "CREATE TABLE b ()", "");
    assert!(db.verify(&migrator(&[a, b])).await.objects.is_empty(), "nothing is applied");
    migrator(&[a, b]).up(&mut client, Steps::All).await.expect("up");

    let changed = db.verify(&migrator(&[a, ("002_b", "CREATE TABLE b (x int)", "")])).await;
    assert_eq!((changed.clean, changed.files[0].state), (false, FileState::Changed));
    assert_eq!(changed.drift().map(|object| &*object.name).collect::<Vec<_>>(), ["public.b.x"]);

    let missing = db.verify(&migrator(&[b])).await;
    assert_eq!((missing.clean, missing.files[0].state), (false, FileState::Missing));
    assert!(missing.objects.is_empty());
}

#[tokio::test]
async fn without_the_privilege_it_says_which_one() {
    let db = Database::new().await;
    let mut client = db.client().await;
    real().up(&mut client, Steps::All).await.expect("up");
    client.batch("DROP ROLE IF EXISTS migrate_test_plain; CREATE ROLE migrate_test_plain; GRANT pg_read_all_data TO migrate_test_plain; SET ROLE migrate_test_plain")
        .await.expect("role");
    let error = real().verify(&mut client, &db.connector()).await.expect_err("may not");
    assert!(error.to_string().ends_with("grant it with: ALTER ROLE migrate_test_plain CREATEDB"), "{error}");
    client.batch("RESET ROLE; DROP ROLE migrate_test_plain").await.expect("role");
}

#[tokio::test]
async fn the_scratch_database_never_stays() {
    let db = Database::new().await;
    let mut client = db.client().await;
    let like = "SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_migrate\\_scratch\\_%'
                AND split_part(datname, '_', 4) = pg_backend_pid()::text";

    // A replay that fails: what it needs was made by hand.
    client.batch("CREATE TABLE by_hand ()").await.expect("by hand");
    let needy = migrator(&[("001_a", "ALTER TABLE by_hand ADD a int; SELECT pg_sleep(0.3)", "")]);
    needy.up(&mut client, Steps::All).await.expect("up");
    let error = needy.verify(&mut client, &db.connector()).await.expect_err("cannot be replayed");
    assert!(
        full_text(&error).contains("001_a.sql:1 failed: it was replayed in an empty scratch database"),
        "{error}"
    );
    assert!(texts(&client, like).await.is_empty());

    // A connection that fails.
    let nowhere = |_: String| async {
        Err(db_core::Error::new(db_core::Signal::new(db_core::Cause::Unreachable, Phase::Connect), "nowhere"))
    };
    let error = needy.verify(&mut client, &nowhere).await.expect_err("no connection");
    assert!(
        full_text(&error).contains("could not prepare the scratch database db_migrate_scratch_"),
        "{error}"
    );
    assert!(texts(&client, like).await.is_empty());

    // A future dropped in the middle of the replay.
    let slow = migrator(&[("001_a", "ALTER TABLE IF EXISTS by_hand ADD a int; SELECT pg_sleep(2)", "")]);
    let (connector, watcher) = (db.connector(), db.client().await);
    cut_off(&watcher, slow.verify(&mut client, &connector)).await;
    assert!(texts(&client, like).await.is_empty());

    // What a crash left behind goes after an hour.
    let name = |seconds: u64| format!("db_migrate_scratch_1_{seconds}_{:08x}", std::process::id());
    let (old, young) = (name(1_000_000_000), name(9_000_000_000));
    let create = |name: &str| format!("CREATE DATABASE {name} TEMPLATE template0");
    client.batch(&create(&old)).await.expect("old");
    client.batch(&create(&young)).await.expect("young");
    assert!(db.verify(&slow).await.files.len() == 1);
    let left = "SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_migrate\\_scratch\\_1\\_%'";
    let left = texts(&client, left).await;
    assert!(!left.contains(&old) && left.contains(&young), "{left:?}");
    client.batch(&format!("DROP DATABASE {young}")).await.expect("cleaned up");
}
