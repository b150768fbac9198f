//! Effects, one line per case. Whether a server agrees is tested where there is one.

use super::tree::Names;
use super::{StatementEffects, of_text};

fn read(sql: &str) -> Vec<StatementEffects> {
    let mut new = Names::default();
    sql.split(';').filter(|text| !text.trim().is_empty()).map(|text| of_text(text, 1, &mut new)).collect()
}

/// The effects of all statements: lock, then `R`ewrites, `S`cans, `N`ew; `!` for a hazard of the whole statement.
#[track_caller]
fn check(sql: &str, expect: &str) {
    let lines = read(sql).into_iter().flat_map(|statement| {
        let effects = statement.effects.into_iter().map(|effect| {
            let marks = [(effect.rewrites, " R"), (effect.scans, " S"), (effect.new, " N")];
            let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
            format!("{} {}{marks}", effect.relation, effect.lock)
        });
        effects.chain(statement.hazard.map(|_| "!".to_owned())).collect::<Vec<_>>()
    });
    assert_eq!(lines.collect::<Vec<_>>().join(", "), expect, "{sql}");
}

#[test]
fn tables() {
    check("CREATE TABLE t (id bigint)", "t ACCESS EXCLUSIVE N");
    check(
        "CREATE TABLE t (id bigint, u bigint REFERENCES users (id))",
        "t ACCESS EXCLUSIVE N, users SHARE ROW EXCLUSIVE",
    );
    check("CREATE TABLE t (id bigint, p bigint REFERENCES public.t)", "t ACCESS EXCLUSIVE N");
    check(
        "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES app.u (id))",
        "t ACCESS EXCLUSIVE N, app.u SHARE ROW EXCLUSIVE",
    );
    check("CREATE TABLE t (LIKE u INCLUDING ALL)", "t ACCESS EXCLUSIVE N, u ACCESS SHARE");
    check("CREATE TABLE t () INHERITS (p)", "t ACCESS EXCLUSIVE N, p SHARE UPDATE EXCLUSIVE");
    check("CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)", "p1 ACCESS EXCLUSIVE N, p ACCESS EXCLUSIVE");
    check("CREATE TABLE t AS SELECT * FROM u", "t ACCESS EXCLUSIVE N, u ACCESS SHARE");
    check("DROP TABLE a, public.b", "a ACCESS EXCLUSIVE, public.b ACCESS EXCLUSIVE");
    check("DROP TABLE a CASCADE", "a ACCESS EXCLUSIVE, !");
    check("DROP FOREIGN TABLE a, b", "a ACCESS EXCLUSIVE, b ACCESS EXCLUSIVE");
    check("TRUNCATE a, b", "a ACCESS EXCLUSIVE, b ACCESS EXCLUSIVE");
    check("LOCK TABLE a IN SHARE MODE", "a SHARE");
    check("LOCK a", "a ACCESS EXCLUSIVE");
}

#[test]
fn new_relations() {
    check(
        r#"CREATE TABLE public."T" (id int); CREATE INDEX i ON "T" (id); CREATE INDEX j ON t (id)"#,
        r#"public."T" ACCESS EXCLUSIVE N, "T" SHARE S N, t SHARE S"#,
    );
    check("CREATE TABLE a.t (); ALTER TABLE b.t OWNER TO me", "a.t ACCESS EXCLUSIVE N, b.t ACCESS EXCLUSIVE");
    check(
        "CREATE TABLE t (); ALTER TABLE t RENAME TO u; TRUNCATE u",
        "t ACCESS EXCLUSIVE N, t ACCESS EXCLUSIVE N, u ACCESS EXCLUSIVE N",
    );
    check("ALTER TABLE t RENAME TO u; TRUNCATE u", "t ACCESS EXCLUSIVE, u ACCESS EXCLUSIVE");
}

#[test]
fn add_column() {
    let check = |sql: &str, expect: &str| check(&format!("ALTER TABLE t ADD COLUMN {sql}"), expect);
    check("c text", "t ACCESS EXCLUSIVE");
    check("c text NOT NULL DEFAULT 'x'", "t ACCESS EXCLUSIVE");
    check("c int DEFAULT -1", "t ACCESS EXCLUSIVE");
    check("c int[] DEFAULT ARRAY[]::int[]", "t ACCESS EXCLUSIVE");
    check("c timestamptz DEFAULT now()", "t ACCESS EXCLUSIVE");
    check("c timestamptz DEFAULT now() - interval '1 day'", "t ACCESS EXCLUSIVE");
    check("c timestamptz DEFAULT CURRENT_TIMESTAMP", "t ACCESS EXCLUSIVE");
    check("c date DEFAULT CURRENT_DATE", "t ACCESS EXCLUSIVE");
    check("c uuid DEFAULT gen_random_uuid()", "t ACCESS EXCLUSIVE R");
    check("c timestamptz DEFAULT clock_timestamp()", "t ACCESS EXCLUSIVE R");
    check("c float8 DEFAULT (random() * 10)", "t ACCESS EXCLUSIVE R");
    check("c int DEFAULT pg_catalog.nextval('s')", "t ACCESS EXCLUSIVE R");
    check("c int DEFAULT my_function()", "t ACCESS EXCLUSIVE R");
    check("c bigserial", "t ACCESS EXCLUSIVE R");
    check("c int GENERATED ALWAYS AS IDENTITY", "t ACCESS EXCLUSIVE R");
    check("c int GENERATED ALWAYS AS (a + 1) STORED", "t ACCESS EXCLUSIVE R");
    check("c int NOT NULL", "t ACCESS EXCLUSIVE S");
    check("c int CHECK (c > 0)", "t ACCESS EXCLUSIVE S");
    check("c int UNIQUE", "t ACCESS EXCLUSIVE S");
    check("c int REFERENCES u (id)", "t ACCESS EXCLUSIVE, u SHARE ROW EXCLUSIVE");
    check("c int DEFAULT NULL REFERENCES u", "t ACCESS EXCLUSIVE, u SHARE ROW EXCLUSIVE");
    check("c int DEFAULT 1 REFERENCES u", "t ACCESS EXCLUSIVE S, u SHARE ROW EXCLUSIVE");
    check("a int, ADD COLUMN b uuid DEFAULT gen_random_uuid()", "t ACCESS EXCLUSIVE R");
}

#[test]
fn alter_table() {
    let check = |sql: &str, expect: &str| check(&format!("ALTER TABLE ONLY app.t {sql}"), expect);
    check("ALTER COLUMN c TYPE text", "app.t ACCESS EXCLUSIVE R");
    check("ALTER COLUMN c SET NOT NULL", "app.t ACCESS EXCLUSIVE S");
    check("ALTER COLUMN c DROP NOT NULL", "app.t ACCESS EXCLUSIVE");
    check("ALTER COLUMN c SET DEFAULT 1", "app.t ACCESS EXCLUSIVE");
    check("ALTER COLUMN c SET STATISTICS 500", "app.t SHARE UPDATE EXCLUSIVE");
    check("ALTER COLUMN c SET (n_distinct = 5)", "app.t SHARE UPDATE EXCLUSIVE");
    check("ALTER COLUMN c SET STORAGE EXTERNAL", "app.t ACCESS EXCLUSIVE");
    check("SET (fillfactor = 70)", "app.t SHARE UPDATE EXCLUSIVE");
    check("RESET (fillfactor)", "app.t SHARE UPDATE EXCLUSIVE");
    check("CLUSTER ON i", "app.t SHARE UPDATE EXCLUSIVE");
    check("SET LOGGED", "app.t ACCESS EXCLUSIVE R");
    check("ADD CHECK (a > 0)", "app.t ACCESS EXCLUSIVE S");
    check("ADD CONSTRAINT k CHECK (a > 0) NOT VALID", "app.t ACCESS EXCLUSIVE");
    check("ADD FOREIGN KEY (a) REFERENCES u", "app.t SHARE ROW EXCLUSIVE S, u SHARE ROW EXCLUSIVE");
    check("ADD FOREIGN KEY (a) REFERENCES u NOT VALID", "app.t SHARE ROW EXCLUSIVE, u SHARE ROW EXCLUSIVE");
    check("VALIDATE CONSTRAINT k", "app.t SHARE UPDATE EXCLUSIVE S");
    check("ADD PRIMARY KEY (a)", "app.t ACCESS EXCLUSIVE S");
    check("ADD CONSTRAINT k UNIQUE (a)", "app.t ACCESS EXCLUSIVE S");
    check("ADD CONSTRAINT k UNIQUE USING INDEX i", "app.t ACCESS EXCLUSIVE");
    check("ADD EXCLUDE USING gist (a WITH &&)", "app.t ACCESS EXCLUSIVE S");
    check("DROP CONSTRAINT k", "app.t ACCESS EXCLUSIVE");
    check("DROP COLUMN c", "app.t ACCESS EXCLUSIVE");
    check("RENAME COLUMN a TO b", "app.t ACCESS EXCLUSIVE");
    check("RENAME CONSTRAINT a TO b", "app.t ACCESS EXCLUSIVE");
    check("SET SCHEMA s", "app.t ACCESS EXCLUSIVE");
    check("OWNER TO me", "app.t ACCESS EXCLUSIVE");
    check("DISABLE TRIGGER ALL", "app.t SHARE ROW EXCLUSIVE");
    check("ENABLE ROW LEVEL SECURITY", "app.t ACCESS EXCLUSIVE");
    check("REPLICA IDENTITY FULL", "app.t ACCESS EXCLUSIVE");
    check("INHERIT p", "app.t ACCESS EXCLUSIVE, p SHARE UPDATE EXCLUSIVE");
    check("ATTACH PARTITION p FOR VALUES IN (1)", "app.t SHARE UPDATE EXCLUSIVE, p ACCESS EXCLUSIVE S");
    check("DETACH PARTITION p", "app.t ACCESS EXCLUSIVE, p ACCESS EXCLUSIVE");
    check("DETACH PARTITION p CONCURRENTLY", "app.t SHARE UPDATE EXCLUSIVE, p ACCESS EXCLUSIVE");
}

#[test]
fn indexes() {
    check("CREATE UNIQUE INDEX i ON app.t (a)", "app.t SHARE S");
    check("CREATE INDEX CONCURRENTLY i ON t (a)", "t SHARE UPDATE EXCLUSIVE S");
    check("DROP INDEX i, app.j", "i ACCESS EXCLUSIVE, app.j ACCESS EXCLUSIVE");
    check("DROP INDEX CONCURRENTLY i", "i SHARE UPDATE EXCLUSIVE");
    check("ALTER INDEX i RENAME TO j", "i SHARE UPDATE EXCLUSIVE");
    check("REINDEX TABLE t", "t SHARE S");
    check("REINDEX INDEX CONCURRENTLY i", "i SHARE UPDATE EXCLUSIVE R S");
    check("REINDEX DATABASE d", "!");
}

#[test]
fn around_tables() {
    check("CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", "t SHARE ROW EXCLUSIVE");
    check("DROP TRIGGER g ON t", "t ACCESS EXCLUSIVE");
    check("CREATE POLICY p ON t USING (true)", "t ACCESS EXCLUSIVE");
    check("DROP POLICY p ON t", "t ACCESS EXCLUSIVE");
    check("CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING", "t ACCESS EXCLUSIVE");
    check("CREATE STATISTICS s ON a, b FROM t", "t SHARE UPDATE EXCLUSIVE");
    check("COMMENT ON TABLE t IS 'x'", "t SHARE UPDATE EXCLUSIVE");
    check("COMMENT ON COLUMN app.t.c IS 'x'", "app.t SHARE UPDATE EXCLUSIVE");
    check("COMMENT ON FUNCTION f() IS 'x'", "");
    check("VACUUM t", "t SHARE UPDATE EXCLUSIVE S");
    check("VACUUM (FULL, ANALYZE) t", "t ACCESS EXCLUSIVE R");
    check("VACUUM", "!");
    check("CLUSTER t USING i", "t ACCESS EXCLUSIVE R");
    check("ANALYZE t", "t SHARE UPDATE EXCLUSIVE");
    check(
        "CREATE VIEW v AS SELECT * FROM t JOIN u USING (id)",
        "v ACCESS EXCLUSIVE N, t ACCESS SHARE, u ACCESS SHARE",
    );
    check("CREATE OR REPLACE VIEW v AS SELECT 1", "v ACCESS EXCLUSIVE");
    check("CREATE MATERIALIZED VIEW v AS SELECT * FROM t", "v ACCESS EXCLUSIVE N, t ACCESS SHARE");
    check("REFRESH MATERIALIZED VIEW v", "v ACCESS EXCLUSIVE R");
    check("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "v EXCLUSIVE S");
    check("ALTER SEQUENCE s RESTART", "s SHARE ROW EXCLUSIVE");
    check("CREATE TYPE mood AS ENUM ('a')", "");
    check("ALTER TYPE mood ADD VALUE 'b'", "");
    check("DROP TYPE mood CASCADE", "!");
    check("ALTER DOMAIN d ADD CHECK (VALUE > 0)", "!");
    check("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "");
    check("GRANT SELECT ON t TO me", "");
    check("DO 'BEGIN END'", "!");
    check("CALL p()", "!");
}

#[test]
fn rows() {
    check("SELECT * FROM t", "t ACCESS SHARE");
    check("SELECT * FROM t FOR UPDATE", "t ROW SHARE");
    check("SELECT set_config('a', 'b', true)", "");
    check("INSERT INTO t SELECT * FROM u", "t ROW EXCLUSIVE, u ACCESS SHARE");
    check("UPDATE t SET a = 1", "t ROW EXCLUSIVE S");
    check("UPDATE t SET a = u.a FROM u WHERE u.id = t.id", "t ROW EXCLUSIVE, u ACCESS SHARE");
    check("DELETE FROM t", "t ROW EXCLUSIVE S");
    check(
        "WITH x AS (DELETE FROM t WHERE a RETURNING *) INSERT INTO u SELECT * FROM x",
        "u ROW EXCLUSIVE, t ROW EXCLUSIVE",
    );
    check("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "t ROW EXCLUSIVE, u ACCESS SHARE");
    check("COPY t FROM '/tmp/x'", "t ROW EXCLUSIVE");
    check("EXPLAIN ANALYZE DELETE FROM t WHERE a", "t ROW EXCLUSIVE");
    check("DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE", "t ROW SHARE");
    check("PREPARE p AS INSERT INTO t SELECT * FROM u", "t ROW EXCLUSIVE, u ACCESS SHARE");
}

#[test]
fn hazards_are_told() {
    let sql = "ALTER TABLE users ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid(),
                   ADD COLUMN org bigint REFERENCES orgs (id);
               ALTER TABLE users ALTER COLUMN email TYPE varchar(500);
               UPDATE users SET email = lower(email);
               CREATE INDEX CONCURRENTLY users_email_idx ON users (email);
               DO 'BEGIN END'";
    insta::assert_snapshot!(serde_json::to_string_pretty(&read(sql)).expect("json"));
}

#[test]
fn excerpts() {
    let check = |sql: &str, expect: &str| assert_eq!(read(sql)[0].statement, expect);
    check("-- why\n  SELECT 1 -- what\n  , 2", "SELECT 1 , 2");
    let long = format!("SELECT '{}'", "é".repeat(500));
    check(&long, &format!("SELECT '{}…", "é".repeat(91)));
}
