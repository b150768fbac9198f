//! Drift is found and named; the scratch database never stays.

use super::*;

/// The drift that `change` makes on a database with the real migrations.
async fn drift(change: &str) -> Vec<String> {
    let db = Database::new().await;
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    client.batch_execute(change).await.expect(change);
    let verification = db.verify(&real()).await;
    assert!(!verification.clean || verification.drift().count() == 0);
    shown(verification.drift())
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

/// The drift that `change` makes on a database with the migration `up`.
async fn drift_from(up: &str, change: &str) -> Vec<String> {
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[("001_all", up, "")]);
    migrator.up(&client, Steps::All).await.expect(up);
    client.batch_execute(change).await.expect(change);
    shown(db.verify(&migrator).await.drift())
}

/// A8, D3: what leaves the definition as it is and yet makes it worthless.
#[tokio::test]
async fn what_is_there_but_not_in_force_is_named() {
    let up = "CREATE TABLE a (id int PRIMARY KEY, n int);
              CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT b_a_fkey REFERENCES a, n int CONSTRAINT b_n_check CHECK (n > 0));
              ALTER TABLE b ADD CONSTRAINT b_late_check CHECK (n < 9) NOT VALID;";
    let check = async |change: &str, expect: &[&str]| {
        assert_eq!(drift_from(up, change).await, expect, "{change}");
    };
    check("SELECT 1", &[]).await;
    check(
        "ALTER TABLE b DROP CONSTRAINT b_n_check; ALTER TABLE b ADD CONSTRAINT b_n_check CHECK (n > 0) NOT VALID",
        &["constraint public.b.b_n_check: CHECK ((n > 0)) -> CHECK ((n > 0)) NOT VALID"],
    )
    .await;
    check(
        "ALTER TABLE b DROP CONSTRAINT b_a_fkey; ALTER TABLE b ADD CONSTRAINT b_a_fkey FOREIGN KEY (a) REFERENCES a NOT VALID",
        &["constraint public.b.b_a_fkey: FOREIGN KEY (a) REFERENCES public.a(id) -> \
           FOREIGN KEY (a) REFERENCES public.a(id) NOT VALID"],
    )
    .await;
    check(
        "ALTER TABLE b VALIDATE CONSTRAINT b_late_check",
        &["constraint public.b.b_late_check: CHECK ((n < 9)) NOT VALID -> CHECK ((n < 9))"],
    )
    .await;
    check(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_pkey'::regclass",
        &["index public.a_pkey: unexpected"],
    )
    .await;
}

/// A8: partitions come and go without a migration, and with them what the server or somebody puts on them.
#[tokio::test]
async fn partitions_of_the_running_system_are_no_drift() {
    let up = "CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
              CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
              CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT c_p_fkey REFERENCES p)";
    let partition =
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); CREATE INDEX p2_n ON p2 (n);
                     CREATE POLICY own ON p2 USING (true); CREATE RULE r AS ON DELETE TO p2 DO ALSO NOTHING";
    assert_eq!(drift_from(up, partition).await, [""; 0]);
    assert_eq!(
        drift_from(up, "ALTER TABLE c DROP CONSTRAINT c_p_fkey").await,
        ["constraint public.c.c_p_fkey: missing"]
    );
}

/// A8: a dump that is restored has another search_path, and the same defaults.
#[tokio::test]
async fn the_default_of_a_domain_does_not_depend_on_the_search_path() {
    let up =
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a', 'b'); CREATE DOMAIN s.d AS s.mood DEFAULT 'a'";
    let set = |value: &str| {
        format!("SET search_path = s; ALTER DOMAIN d SET DEFAULT '{value}'; SET search_path = public")
    };
    assert_eq!(drift_from(up, &set("a")).await, [""; 0]);
    assert_eq!(
        drift_from(up, &set("b")).await,
        ["type s.d: domain s.mood DEFAULT 'a'::s.mood -> domain s.mood DEFAULT 'b'::s.mood"]
    );
}

/// A8: an index that CREATE INDEX CONCURRENTLY left behind is not the one that was declared.
#[tokio::test]
async fn an_invalid_index_is_drift() {
    let up = "CREATE TABLE a (n int); CREATE UNIQUE INDEX a_n_idx ON a (n);";
    let db = Database::new().await;
    let client = db.client().await;
    let migrator = migrator(&[("001_a", up, "")]);
    migrator.up(&client, Steps::All).await.expect("up");
    client.batch_execute("DROP INDEX a_n_idx; INSERT INTO a VALUES (1), (1)").await.expect("duplicates");
    client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY a_n_idx ON a (n)").await.expect_err("not unique");
    let index = "CREATE UNIQUE INDEX a_n_idx ON public.a USING btree (n)";
    assert_eq!(
        shown(db.verify(&migrator).await.drift()),
        [format!("index public.a_n_idx: {index} -> {index} (invalid)")]
    );
}

/// A8: what else makes a table or a view behave differently.
#[tokio::test]
async fn rules_statistics_inheritance_and_options_are_compared() {
    let up = "CREATE TABLE a (x int NOT NULL, y int);
              CREATE TABLE parent (x int NOT NULL, y int);
              CREATE UNIQUE INDEX a_x_idx ON a (x);
              CREATE VIEW v WITH (security_barrier) AS SELECT x FROM a;
              CREATE RULE no_delete AS ON DELETE TO a DO INSTEAD NOTHING;
              CREATE STATISTICS a_xy (dependencies) ON x, y FROM a;";
    let check = async |change: &str, expect: &[&str]| {
        assert_eq!(drift_from(up, change).await, expect, "{change}");
    };
    check(
        "ALTER TABLE a SET (fillfactor = 50); COMMENT ON TABLE a IS 'theirs'; GRANT SELECT ON a TO public",
        &[],
    )
    .await;
    check("DROP RULE no_delete ON a", &["rule public.a.no_delete: missing"]).await;
    let disabled = drift_from(up, "ALTER TABLE a DISABLE RULE no_delete").await;
    assert!(disabled.len() == 1 && disabled[0].ends_with("(disabled)"), "{disabled:?}");
    check("DROP STATISTICS a_xy", &["statistics public.a_xy: missing"]).await;
    check("ALTER TABLE a REPLICA IDENTITY FULL", &["table public.a: table -> table replica identity full"])
        .await;
    check(
        "ALTER TABLE a REPLICA IDENTITY USING INDEX a_x_idx",
        &["table public.a: table -> table replica identity using index a_x_idx"],
    )
    .await;
    check("ALTER TABLE a INHERIT parent", &["table public.a: table -> table inherits public.parent"]).await;
    let options = drift_from(up, "ALTER VIEW v SET (security_barrier = false)").await;
    assert!(
        options.len() == 1 && options[0].contains("-> view WITH (security_barrier=false) SELECT"),
        "{options:?}"
    );
}

/// A8: an aggregate is more than what it returns.
#[tokio::test]
async fn the_inside_of_an_aggregate_is_compared() {
    let up = "CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0')";
    let drift = drift_from(up, "DROP AGGREGATE total (int); CREATE AGGREGATE total (int) (sfunc = int4mul, stype = int, initcond = '1')").await;
    let shape = |function, initial| {
        format!(
            "aggregate returning integer (sfunc {function}, stype integer, finalfunc -, initcond '{initial}')"
        )
    };
    assert_eq!(
        drift,
        [format!("function public.total(integer): {} -> {}", shape("int4pl", 0), shape("int4mul", 1))]
    );
}

/// A8: files are sent as they are, so that a checkout with other line ends makes other bodies of functions.
#[tokio::test]
async fn line_ends_of_a_function_are_not_drift() {
    let body = |end: &str, result: i32| {
        let lines = [
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$",
            "BEGIN",
            &format!("RETURN {result};"),
            "END $$",
        ];
        lines.join(end)
    };
    let up = body("\n", 1);
    assert_eq!(drift_from(&up, &body("\r\n", 1)).await, Vec::<String>::new());
    assert_eq!(drift_from(&up, &body("\r\n", 2)).await.len(), 1);
}

/// The tables of the runner are not the schema's, whatever they are called.
#[tokio::test]
async fn the_runners_own_tables_are_left_out() {
    let db = Database::new().await;
    let client = db.client().await;
    let table = "public.log_of_migrations".parse().expect("table");
    let settings = Settings { table, ..Settings::default() };
    let migrator = migrator(&[("001_a", "CREATE TABLE a ()", "")]).settings(settings);
    migrator.up(&client, Steps::All).await.expect("up");
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS log_of_migrations_lease (holder text PRIMARY KEY)")
        .await
        .expect("lease");
    let verification = db.verify(&migrator).await;
    assert!(verification.clean, "{:?}", shown(verification.drift()));
}

#[tokio::test]
async fn all_kinds_of_objects_are_compared() {
    let db = Database::new().await;
    let client = db.client().await;
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
    migrator.up(&client, Steps::All).await.expect("up");
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

    client.batch_execute("CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
        .await.expect("a partition made by a job");
    assert!(db.verify(&migrator).await.clean);
    let changes =
        "ALTER TYPE app.mood ADD VALUE 'so so' AFTER 'good'; ALTER TABLE app.t DISABLE ROW LEVEL SECURITY;
                   ALTER SEQUENCE app.counter INCREMENT 6; DROP POLICY mine ON app.t";
    client.batch_execute(changes).await.expect("changes");
    let verification = db.verify(&migrator).await;
    let names: Vec<_> = verification.drift().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["app.mood", "app.t", "app.counter", "app.t.mine"]);
}

#[tokio::test]
async fn the_replay_uses_the_search_path_of_the_database() {
    let db = Database::new().await;
    let alter = format!("ALTER DATABASE {} SET search_path = app, public", db.name);
    db.client().await.batch_execute(&alter).await.expect("search_path");
    let migrator = migrator(&[
        ("001_app", "CREATE SCHEMA app", "DROP SCHEMA app"),
        ("002_t", "CREATE TABLE t (id int)", "DROP TABLE t"),
    ]);
    migrator.up(&db.client().await, Steps::All).await.expect("up");
    let verification = db.verify(&migrator).await;
    assert!(verification.clean && verification.objects.iter().any(|object| object.name == "app.t.id"));
}

#[tokio::test]
async fn files_that_are_not_what_they_were_are_told() {
    let db = Database::new().await;
    let client = db.client().await;
    let a = ("001_a", "CREATE TABLE a ()", "");
    let b = ("002_b", "CREATE TABLE b ()", "");
    assert!(db.verify(&migrator(&[a, b])).await.objects.is_empty(), "nothing is applied");
    migrator(&[a, b]).up(&client, Steps::All).await.expect("up");

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
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    client.batch_execute("DROP ROLE IF EXISTS migrate_test_plain; CREATE ROLE migrate_test_plain; GRANT pg_read_all_data TO migrate_test_plain; SET ROLE migrate_test_plain")
        .await.expect("role");
    let error = real().verify(&client, &db.connector()).await.expect_err("may not");
    assert!(error.to_string().ends_with("grant it with: ALTER ROLE migrate_test_plain CREATEDB"), "{error}");
    client.batch_execute("RESET ROLE; DROP ROLE migrate_test_plain").await.expect("role");
}

#[tokio::test]
async fn the_scratch_database_never_stays() {
    let db = Database::new().await;
    let client = db.client().await;
    let like = "SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_migrate\\_scratch\\_%'
                AND split_part(datname, '_', 4) = pg_backend_pid()::text";

    // A replay that fails: what it needs was made by hand.
    client.batch_execute("CREATE TABLE by_hand ()").await.expect("by hand");
    let needy = migrator(&[("001_a", "ALTER TABLE by_hand ADD a int; SELECT pg_sleep(0.3)", "")]);
    needy.up(&client, Steps::All).await.expect("up");
    let error = needy.verify(&client, &db.connector()).await.expect_err("cannot be replayed");
    assert!(
        full_text(&error).contains("001_a.sql:1 failed: it was replayed in an empty scratch database"),
        "{error}"
    );
    assert!(texts(&client, like).await.is_empty());

    // A connection that fails.
    let nowhere = |_: String| async {
        Err(db_core::Error::new(db_core::Signal::new(db_core::Cause::Unreachable, Phase::Connect), "nowhere"))
    };
    let error = needy.verify(&client, &nowhere).await.expect_err("no connection");
    assert!(
        full_text(&error).contains("could not prepare the scratch database db_migrate_scratch_"),
        "{error}"
    );
    assert!(texts(&client, like).await.is_empty());

    // A future dropped in the middle of the replay.
    let slow = migrator(&[("001_a", "ALTER TABLE IF EXISTS by_hand ADD a int; SELECT pg_sleep(2)", "")]);
    let (connector, watcher) = (db.connector(), db.client().await);
    cut_off(&watcher, slow.verify(&client, &connector)).await;
    assert!(texts(&client, like).await.is_empty());

    // What a crash left behind goes after an hour.
    let name = |seconds: u64| format!("db_migrate_scratch_1_{seconds}_{:08x}", std::process::id());
    let (old, young) = (name(1_000_000_000), name(9_000_000_000));
    let create = |name: &str| format!("CREATE DATABASE {name} TEMPLATE template0");
    client.batch_execute(&create(&old)).await.expect("old");
    client.batch_execute(&create(&young)).await.expect("young");
    assert!(db.verify(&slow).await.files.len() == 1);
    let left = "SELECT datname::text FROM pg_database WHERE datname LIKE 'db\\_migrate\\_scratch\\_1\\_%'";
    let left = texts(&client, left).await;
    assert!(!left.contains(&old) && left.contains(&young), "{left:?}");
    client.batch_execute(&format!("DROP DATABASE {young}")).await.expect("cleaned up");
}
