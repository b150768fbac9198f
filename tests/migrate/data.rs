//! Rows, sequences and indexes that are not what the schema promises: found, counted, and never shown.

use super::*;

async fn look(client: &Client, mode: DataCheck) -> DataReport {
    let migrator = migrator(&[]);
    let report = migrator.check_data(client, mode).await.expect("checks");
    let open: bool =
        client.one("SELECT current_setting('transaction_read_only')::bool", &[]).await.expect("state");
    assert!(!open, "the transaction is over");
    report
}

fn lines(report: &DataReport) -> Vec<String> {
    let found = report.findings.iter().map(|finding| {
        let rows = finding.rows.map(|rows| format!(" {rows}")).unwrap_or_default();
        format!("{} {}{rows}", finding.check, finding.object)
    });
    let unchecked = report
        .unchecked
        .iter()
        .map(|skipped| format!("unchecked: {} {}: {}", skipped.check, skipped.object, skipped.reason));
    found.chain(unchecked).collect()
}

/// What is found after `sql`, which several statements may fail in.
async fn found(sql: &[&str], mode: DataCheck) -> DataReport {
    let db = Database::new().await;
    let client = db.client().await;
    for sql in sql {
        // CREATE INDEX CONCURRENTLY over duplicates is meant to fail.
        let done = client.batch_execute(sql).await;
        assert!(done.is_ok() || sql.contains("CONCURRENTLY"), "{sql}: {done:?}");
    }
    look(&client, mode).await
}

const TABLES: &str = r#"
    CREATE SCHEMA "Odd ""one""";
    CREATE TABLE "Odd ""one"""."Parent" ("Key" bigint PRIMARY KEY, "b%s" text, UNIQUE ("Key", "b%s"));
    CREATE TABLE "Odd ""one"""."Child's" (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "a" int, b text,
        CONSTRAINT "Simple" FOREIGN KEY (a) REFERENCES "Odd ""one"""."Parent",
        CONSTRAINT together FOREIGN KEY (a, b) REFERENCES "Odd ""one"""."Parent" ("Key", "b%s") MATCH FULL,
        CONSTRAINT "small" CHECK (a < 100 AND b <> '%'));"#;

/// D3, D13: a sound database is clean, and everything that was looked at is listed.
#[tokio::test]
async fn a_sound_database_is_clean() {
    let rows = r#"INSERT INTO "Odd ""one"""."Parent" VALUES (1, 'x');
                  INSERT INTO "Odd ""one"""."Child's" (a, b) VALUES (1, 'x'), (NULL, NULL)"#;
    for mode in [DataCheck::Suspicious, DataCheck::All] {
        let report = found(&[TABLES, rows], mode).await;
        assert!(report.clean && report.findings.is_empty(), "{:?}", lines(&report));
        let checked: Vec<_> =
            report.checked.iter().map(|look| format!("{} {}", look.check, look.object)).collect();
        let has = |line: &str| checked.iter().any(|checked| checked == line);
        let child = r#""Odd ""one"""."Child's""#;
        assert!(has(&format!("unvalidated constraint {child}.together")), "{checked:?}");
        assert!(has(r#"sequence behind "Odd ""one"""."Child's_id_seq""#), "{checked:?}");
        assert!(has(r#"invalid index "Odd ""one"""."Parent_pkey""#), "{checked:?}");
        let all = mode == DataCheck::All;
        assert_eq!(has(&format!(r#"orphan rows {child}."Simple""#)), all, "{checked:?}");
        assert_eq!(has(&format!("check violations {child}.small")), all, "{checked:?}");
        assert_eq!(has(r#"duplicate keys "Odd ""one"""."Parent_Key_b%s_key""#), all, "{checked:?}");
    }
}

/// D3, D13: rows without their parent, rows against a check: counted when nothing vouches for them.
#[tokio::test]
async fn rows_that_no_constraint_vouches_for_are_counted() {
    let drop = r#"ALTER TABLE "Odd ""one"""."Child's" DROP CONSTRAINT "Simple", DROP CONSTRAINT together, DROP CONSTRAINT small;
        INSERT INTO "Odd ""one"""."Child's" (a, b) VALUES (1, 'x'), (7, 'x'), (8, NULL), (1, NULL), (NULL, NULL), (200, 'x');
        INSERT INTO "Odd ""one"""."Parent" VALUES (1, 'x')"#;
    let add = r#"ALTER TABLE "Odd ""one"""."Child's"
        ADD CONSTRAINT "Simple" FOREIGN KEY (a) REFERENCES "Odd ""one"""."Parent" NOT VALID,
        ADD CONSTRAINT together FOREIGN KEY (a, b) REFERENCES "Odd ""one"""."Parent" ("Key", "b%s") MATCH FULL NOT VALID,
        ADD CONSTRAINT "small" CHECK (a < 100 AND b <> '%') NOT VALID"#;
    let db = Database::new().await;
    let client = db.client().await;
    for sql in [TABLES, drop, add] {
        client.batch_execute(sql).await.expect(sql);
    }
    let report = look(&client, DataCheck::Suspicious).await;
    let child = r#""Odd ""one"""."Child's""#;
    let expect = [
        format!("check violations {child}.small 1"),
        format!(r#"orphan rows {child}."Simple" 3"#),
        format!("orphan rows {child}.together 4"),
        format!(r#"unvalidated constraint {child}."Simple""#),
        format!("unvalidated constraint {child}.small"),
        format!("unvalidated constraint {child}.together"),
    ];
    assert_eq!(lines(&report), expect);
    for finding in &report.findings {
        let Some(rows) = finding.rows else { continue };
        let shown = client.fetch(&finding.help, &[]).await.expect(&finding.help);
        assert_eq!(shown.len() as i64, rows, "{}", finding.help);
    }

    // The advice mends what the rows allow.
    client.batch_execute(&format!("TRUNCATE {child}")).await.expect("truncate");
    for finding in look(&client, DataCheck::Suspicious).await.findings {
        assert_eq!(finding.rows, None);
        client.batch_execute(&finding.help).await.expect(&finding.help);
    }
    assert!(look(&client, DataCheck::Suspicious).await.clean);
}

/// D3, D13: a foreign key whose triggers are off is valid by the catalogue alone.
#[tokio::test]
async fn a_foreign_key_without_its_triggers_is_not_trusted() {
    let check = async |mode: DataCheck, sql: &[&str], expect: &[&str]| {
        let tables =
            "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (p int CONSTRAINT c_p REFERENCES p);";
        let sql: Vec<_> = std::iter::once(tables).chain(sql.iter().copied()).collect();
        assert_eq!(lines(&found(&sql, mode).await), expect, "{sql:?}");
    };
    let off = "ALTER TABLE c DISABLE TRIGGER ALL; INSERT INTO c VALUES (1)";
    let on = "ALTER TABLE c ENABLE TRIGGER ALL";
    let replica = "SET session_replication_role = replica; INSERT INTO c VALUES (1), (2)";
    let expect = ["disabled foreign key public.c.c_p", "orphan rows public.c.c_p 1"];
    check(DataCheck::Suspicious, &[off], &expect).await;
    check(DataCheck::Suspicious, &[off, on], &[]).await;
    check(DataCheck::All, &[off, on], &expect[1..]).await;
    check(DataCheck::All, &[replica], &["orphan rows public.c.c_p 2"]).await;
    // Types of both sides differ, and partitions are part of their parent.
    let parted = "CREATE TABLE m (p bigint CONSTRAINT m_p REFERENCES p, n int CONSTRAINT n CHECK (n > 0)) PARTITION BY LIST (p);
                  CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); CREATE TABLE m2 PARTITION OF m DEFAULT;
                  SET session_replication_role = replica; INSERT INTO m VALUES (1), (2), (3)";
    check(DataCheck::All, &[parted], &["orphan rows public.m.m_p 3"]).await;
    check(
        DataCheck::Suspicious,
        &[parted, "ALTER TABLE m1 DISABLE TRIGGER ALL"],
        &["disabled foreign key public.m.m_p", "orphan rows public.m.m_p 3"],
    )
    .await;
}

/// D3, D13: the next value of a sequence must not be taken.
#[tokio::test]
async fn sequences_behind_their_column_are_found() {
    let check = async |sql: &str, expect: &[&str]| {
        let db = Database::new().await;
        let client = db.client().await;
        client.batch_execute(sql).await.expect(sql);
        let report = look(&client, DataCheck::Suspicious).await;
        let problems: Vec<_> =
            report.findings.iter().map(|finding| format!("{} {}", finding.object, finding.problem)).collect();
        assert_eq!(problems, expect, "{sql}");
        for finding in report.findings {
            client.batch_execute(&finding.help).await.expect(&finding.help);
        }
        assert!(look(&client, DataCheck::Suspicious).await.clean, "{sql}");
    };
    let behind = |sequence: &str, column: &str, next: i64, held: i64| {
        format!(
            "{sequence} behind {column}, so that inserts will fail or repeat values: the next value is {next}, the column holds {held}"
        )
    };
    check("CREATE TABLE t (id serial)", &[]).await;
    check("CREATE TABLE t (id serial); INSERT INTO t DEFAULT VALUES", &[]).await;
    // Never called: its first value is the next one.
    check(
        "CREATE TABLE t (id serial); INSERT INTO t VALUES (1)",
        &[&behind("public.t_id_seq", "public.t.id", 1, 1)],
    )
    .await;
    check("CREATE TABLE t (id serial); INSERT INTO t VALUES (0)", &[]).await;
    check(
        r#"CREATE TABLE "T t" ("I'd" bigint GENERATED BY DEFAULT AS IDENTITY);
           INSERT INTO "T t" DEFAULT VALUES; INSERT INTO "T t" VALUES (2)"#,
        &[&behind(r#"public."T t_I'd_seq""#, r#"public."T t"."I'd""#, 2, 2)],
    )
    .await;
    check("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY (START -1 INCREMENT -1)); INSERT INTO t DEFAULT VALUES; INSERT INTO t VALUES (5)", &[]).await;
    check(
        "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY (START -1 INCREMENT -1)); INSERT INTO t DEFAULT VALUES; INSERT INTO t VALUES (-9)",
        &[&behind("public.t_id_seq", "public.t.id", -2, -9)],
    )
    .await;
    // Shared and owned by nobody.
    check(
        "CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s')); INSERT INTO t VALUES (7)",
        &[&behind("public.s", "public.t.id", 1, 7)],
    )
    .await;
    check("CREATE SEQUENCE s MAXVALUE 3 CYCLE; CREATE TABLE t (id int DEFAULT nextval('s')); INSERT INTO t VALUES (3)", &[]).await;
    check(
        "CREATE TABLE t (id text DEFAULT 'a' || nextval('pg_temp.s'))"
            .replace("pg_temp.s", "s")
            .replacen("CREATE TABLE", "CREATE SEQUENCE s; CREATE TABLE", 1)
            .as_str(),
        &[],
    )
    .await;
    check(
        "CREATE TABLE t (id serial, k int) PARTITION BY LIST (k); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); INSERT INTO t VALUES (3, 1)",
        &[&behind("public.t_id_seq", "public.t.id", 1, 3)],
    )
    .await;
}

/// D3, D13: an index that proves nothing, and the rows that it let in.
#[tokio::test]
async fn invalid_indexes_and_duplicates_are_found() {
    let check = async |mode: DataCheck, sql: &[&str], expect: &[&str]| {
        assert_eq!(lines(&found(sql, mode).await), expect, "{sql:?}");
    };
    let rows = "CREATE TABLE t (a text, b int); INSERT INTO t VALUES ('x', 1), ('X', 1), ('x', 2), (NULL, 1), (NULL, 1), ('y', 1)";
    check(
        DataCheck::Suspicious,
        &[rows, "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (lower(a)) WHERE b < 9"],
        &["duplicate keys public.t_a 2", "invalid index public.t_a"],
    )
    .await;
    check(
        DataCheck::Suspicious,
        &[
            rows,
            "CREATE UNIQUE INDEX CONCURRENTLY t_ab ON t (a, b) INCLUDE (b)",
            "INSERT INTO t VALUES ('z', 1)",
        ],
        &[],
    )
    .await;
    // NULLS NOT DISTINCT is known from PostgreSQL 15 on, and only there the two nulls are one key.
    let nulls = "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (a, b) NULLS NOT DISTINCT";
    check(
        DataCheck::Suspicious,
        &[rows, nulls],
        &["duplicate keys public.t_a 1", "invalid index public.t_a"],
    )
    .await;
    // A table of one row, as it is mostly done: the key is a constant.
    let one = "CREATE TABLE o (b int); INSERT INTO o VALUES (1); CREATE UNIQUE INDEX ON o ((true));
               CREATE UNIQUE INDEX ON o ((1), b); CREATE UNIQUE INDEX ON o (b, (false))";
    check(DataCheck::All, &[one], &[]).await;
    check(
        DataCheck::All,
        &[
            "CREATE TABLE o (); INSERT INTO o SELECT FROM generate_series(1, 3)",
            "CREATE UNIQUE INDEX CONCURRENTLY o_one ON o ((true))",
        ],
        &["duplicate keys public.o_one 2", "invalid index public.o_one"],
    )
    .await;
    // An index that is valid and lacks rows: only a look past it can tell, even where the planner prefers it.
    let damaged = [
        "CREATE TABLE u (n int); CREATE UNIQUE INDEX u_n ON u (n); INSERT INTO u VALUES (1)",
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'u_n'::regclass",
        "INSERT INTO u VALUES (2), (2), (2)",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'u_n'::regclass;
         SET enable_seqscan = off; SET seq_page_cost = 1000000",
    ];
    check(DataCheck::Suspicious, &damaged, &[]).await;
    check(DataCheck::All, &damaged, &["duplicate keys public.u_n 2"]).await;
    // One index for all partitions, until each has its own.
    let parted =
        "CREATE TABLE p (k int) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
                  INSERT INTO p VALUES (1), (1); CREATE INDEX p_k ON ONLY p (k)";
    check(DataCheck::All, &[parted], &["invalid index public.p_k"]).await;
}

/// D13: what the role may not read, or not within its limits, is told and not taken for sound.
#[tokio::test]
async fn what_could_not_be_checked_is_told() {
    let db = Database::new().await;
    let client = db.client().await;
    let sql = "CREATE TABLE t (id serial); CREATE TABLE secret (id int, n int);
               ALTER TABLE secret ADD CONSTRAINT secret_n CHECK (n > 0) NOT VALID;
               CREATE TABLE slow (n int); INSERT INTO slow VALUES (1);
               CREATE FUNCTION slowly(int) RETURNS boolean LANGUAGE sql AS 'SELECT pg_sleep(5) IS NOT NULL';
               ALTER TABLE slow ADD CONSTRAINT slow_n CHECK (slowly(n)) NOT VALID;
               CREATE TABLE policed (n int); ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
               ALTER TABLE policed ADD CONSTRAINT policed_n CHECK (n > 0) NOT VALID;
               DROP ROLE IF EXISTS migrate_test_reader; CREATE ROLE migrate_test_reader;
               GRANT SELECT ON t, t_id_seq, slow, policed TO migrate_test_reader;
               SET ROLE migrate_test_reader; SET statement_timeout = 200";
    client.batch_execute(sql).await.expect(sql);
    let report = look(&client, DataCheck::Suspicious).await;
    let expect = [
        "unvalidated constraint public.policed.policed_n",
        "unvalidated constraint public.secret.secret_n",
        "unvalidated constraint public.slow.slow_n",
        "unchecked: check violations public.policed.policed_n: query would be affected by row-level security policy for table \"policed\" (42501)",
        "unchecked: check violations public.secret.secret_n: permission denied for table secret (42501)",
        "unchecked: check violations public.slow.slow_n: canceling statement due to statement timeout (57014)",
    ];
    assert_eq!(lines(&report), expect);
    assert!(!report.clean);
    assert!(report.checked.iter().any(|look| look.object == "public.t_id_seq"));
    client
        .batch_execute("RESET ROLE; DROP OWNED BY migrate_test_reader; DROP ROLE migrate_test_reader")
        .await
        .expect("role");
}

/// D13: it only reads, and no value of a row is in the report.
#[tokio::test]
async fn it_only_reads_and_shows_no_values() {
    let sql = "CREATE TABLE t (mail text);
               CREATE FUNCTION reads(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES ($1); RETURN true; END';
               CREATE FUNCTION casts(text) RETURNS boolean LANGUAGE sql AS 'SELECT $1::int > 0';
               INSERT INTO t VALUES ('ann@example.org');
               ALTER TABLE t ADD CONSTRAINT t_reads CHECK (reads(mail)) NOT VALID,
                             ADD CONSTRAINT t_casts CHECK (casts(mail)) NOT VALID";
    let report = found(&[sql], DataCheck::All).await;
    let expect = [
        "unvalidated constraint public.t.t_casts",
        "unvalidated constraint public.t.t_reads",
        "unchecked: check violations public.t.t_casts: the server answered with SQLSTATE 22P02",
        "unchecked: check violations public.t.t_reads: the server answered with SQLSTATE 25006",
    ];
    assert_eq!(lines(&report), expect);
    assert!(!serde_json::to_string(&report).expect("json").contains("ann@example.org"));
}

/// D13: dropped in the middle it leaves no transaction.
#[tokio::test]
async fn a_check_that_is_dropped_leaves_no_transaction() {
    let db = Database::new().await;
    let (client, watcher) = (db.client().await, db.client().await);
    let sql = "CREATE TABLE t (n int); INSERT INTO t VALUES (1);
               CREATE FUNCTION slowly(int) RETURNS boolean LANGUAGE sql AS 'SELECT pg_sleep(1) IS NOT NULL';
               ALTER TABLE t ADD CHECK (slowly(n)) NOT VALID";
    client.batch_execute(sql).await.expect(sql);
    let migrator = migrator(&[]);
    cut_off(&watcher, migrator.check_data(&client, DataCheck::Suspicious)).await;
    client
        .batch_execute("INSERT INTO t SELECT WHERE false")
        .await
        .expect("no transaction, or it would be read only");
}

/// D3: the schema of this repository with its seeds is sound.
#[tokio::test]
async fn the_real_schema_is_sound() {
    let db = Database::new().await;
    let client = db.client().await;
    real().up(&client, Steps::All).await.expect("up");
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../seeds");
    let seeds = Seeds::from_dir(seeds, "development").expect("seeds");
    real().seed(&client, &seeds).await.expect("seeds");
    let report = look(&client, DataCheck::All).await;
    assert!(report.clean && report.checked.len() > 10, "{:?}", lines(&report));
}
