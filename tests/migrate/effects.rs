//! Whether a server agrees with what `effects` reads from the text: locks as in `pg_locks`, rewrites by the file of the
//! relation, scans by the statistics of the transaction. Statements that refuse to run in a transaction are not here, as
//! their locks are gone when they end.

use std::collections::BTreeMap;

use db_migrate::{Effect, Script, effects};

use super::*;

const SCHEMA: &str = "
    CREATE TABLE users (id bigint PRIMARY KEY, email varchar(100), age int, zone text, team_id bigint);
    CREATE TABLE teams (id bigint PRIMARY KEY);
    INSERT INTO teams VALUES (1);
    INSERT INTO users SELECT i, 'a' || i, i, 'z', 1 FROM generate_series(1, 20) i;
    CREATE INDEX users_zone_idx ON users (zone);
    CREATE UNIQUE INDEX users_email_idx ON users (email);
    ALTER TABLE users ADD CONSTRAINT later CHECK (age > 0) NOT VALID;
    ALTER TABLE users ADD CONSTRAINT team_later FOREIGN KEY (team_id) REFERENCES teams NOT VALID;
    CREATE TABLE copies (id bigint, zone text);
    CREATE TABLE events (id int, at date) PARTITION BY LIST (id);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
    CREATE TABLE events_2 (id int, at date);
    INSERT INTO events_2 VALUES (2, '2020-01-01');
    CREATE TABLE parents (id int);
    CREATE TABLE children () INHERITS (parents);
    CREATE TABLE orphans (id int);
    CREATE UNLOGGED TABLE scraps (id int);
    CREATE VIEW crew AS SELECT id FROM users;
    CREATE MATERIALIZED VIEW zones AS SELECT DISTINCT zone FROM users;
    CREATE UNIQUE INDEX zones_key ON zones (zone);
    CREATE SEQUENCE numbers;
    CREATE SCHEMA archive;
    CREATE DOMAIN mail AS text;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
    CREATE FUNCTION fixed() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION loose() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1';
    CREATE TRIGGER touched BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE POLICY own ON users USING (true);
    CREATE RULE copies_rule AS ON DELETE TO copies DO INSTEAD NOTHING;
";

const CASES: &[&str] = &[
    "CREATE TABLE t (id int, team bigint REFERENCES teams)",
    "CREATE TABLE t (LIKE users INCLUDING ALL)",
    "CREATE TABLE t () INHERITS (parents)",
    "CREATE TABLE events_3 PARTITION OF events FOR VALUES IN (3)",
    "CREATE TABLE t AS SELECT * FROM users",
    "ALTER TABLE users ADD COLUMN c text",
    "ALTER TABLE users ADD COLUMN c text NOT NULL DEFAULT 'x'",
    "ALTER TABLE users ADD COLUMN c int DEFAULT -1",
    "ALTER TABLE users ADD COLUMN c timestamptz DEFAULT now()",
    "ALTER TABLE users ADD COLUMN c timestamptz DEFAULT now() - interval '1 day'",
    "ALTER TABLE users ADD COLUMN c timestamptz DEFAULT clock_timestamp()",
    "ALTER TABLE users ADD COLUMN c uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE users ADD COLUMN c float8 DEFAULT random()",
    "ALTER TABLE users ADD COLUMN c int DEFAULT fixed()",
    "ALTER TABLE users ADD COLUMN c int DEFAULT loose()",
    "ALTER TABLE users ADD COLUMN c bigserial",
    "ALTER TABLE users ADD COLUMN c int GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE users ADD COLUMN c int GENERATED ALWAYS AS (age + 1) STORED",
    "ALTER TABLE users ADD COLUMN c int CHECK (c > 0)",
    "ALTER TABLE users ADD COLUMN c int UNIQUE",
    "ALTER TABLE users ADD COLUMN c bigint REFERENCES teams",
    "ALTER TABLE users ADD COLUMN c bigint DEFAULT 1 REFERENCES teams",
    "ALTER TABLE orphans ADD COLUMN c bigint NOT NULL",
    "ALTER TABLE users DROP COLUMN age",
    "ALTER TABLE users ALTER COLUMN age TYPE bigint",
    "ALTER TABLE users ALTER COLUMN email TYPE varchar(200)",
    "ALTER TABLE users ALTER COLUMN email TYPE text",
    "ALTER TABLE copies ALTER COLUMN zone TYPE text USING zone || ''",
    "ALTER TABLE users ALTER COLUMN zone SET NOT NULL",
    "ALTER TABLE users ALTER COLUMN id DROP IDENTITY IF EXISTS",
    "ALTER TABLE users ALTER COLUMN zone DROP NOT NULL",
    "ALTER TABLE users ALTER COLUMN zone SET DEFAULT 'x'",
    "ALTER TABLE users ALTER COLUMN zone SET STATISTICS 500",
    "ALTER TABLE users ALTER COLUMN zone SET (n_distinct = 5)",
    "ALTER TABLE users ALTER COLUMN zone SET STORAGE EXTERNAL",
    "ALTER TABLE users ALTER COLUMN zone SET COMPRESSION pglz",
    "ALTER TABLE users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE users SET (fillfactor = 70)",
    "ALTER TABLE users RESET (fillfactor)",
    "ALTER TABLE users SET (autovacuum_enabled = false)",
    "ALTER TABLE users CLUSTER ON users_zone_idx",
    "ALTER TABLE users SET WITHOUT CLUSTER",
    "ALTER TABLE scraps SET LOGGED",
    "ALTER TABLE copies SET UNLOGGED",
    "ALTER TABLE users ADD CHECK (age > 0)",
    "ALTER TABLE users ADD CONSTRAINT k CHECK (age > 0) NOT VALID",
    "ALTER TABLE users ADD FOREIGN KEY (team_id) REFERENCES teams",
    "ALTER TABLE users ADD FOREIGN KEY (team_id) REFERENCES teams NOT VALID",
    "ALTER TABLE users VALIDATE CONSTRAINT later",
    "ALTER TABLE copies ADD PRIMARY KEY (id)",
    "ALTER TABLE copies ADD UNIQUE (id)",
    "ALTER TABLE users ADD CONSTRAINT k UNIQUE USING INDEX users_email_idx",
    "ALTER TABLE users ADD EXCLUDE (age WITH =)",
    "ALTER TABLE users DROP CONSTRAINT later",
    "ALTER TABLE users RENAME COLUMN zone TO region",
    "ALTER TABLE users RENAME CONSTRAINT later TO sooner",
    "ALTER TABLE users RENAME TO people",
    "ALTER TABLE users SET SCHEMA archive",
    "ALTER TABLE users OWNER TO CURRENT_USER",
    "ALTER TABLE users DISABLE TRIGGER touched",
    "ALTER TABLE users ENABLE ALWAYS TRIGGER touched",
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE users REPLICA IDENTITY FULL",
    "ALTER TABLE copies DISABLE RULE copies_rule",
    "ALTER TABLE orphans INHERIT parents",
    "ALTER TABLE children NO INHERIT parents",
    "ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES IN (2)",
    "ALTER TABLE events DETACH PARTITION events_1",
    "CREATE INDEX i ON users (age)",
    "DROP INDEX users_zone_idx",
    "ALTER INDEX users_zone_idx RENAME TO i",
    "ALTER INDEX users_zone_idx SET (fillfactor = 70)",
    "REINDEX INDEX users_zone_idx",
    "REINDEX TABLE copies",
    "DROP TABLE copies",
    "TRUNCATE copies",
    "CLUSTER users USING users_zone_idx",
    "ANALYZE users",
    "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE",
    "LOCK users",
    "CREATE TRIGGER g AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION touch()",
    "ALTER TRIGGER touched ON users RENAME TO tapped",
    "DROP TRIGGER touched ON users",
    "CREATE POLICY p ON users USING (true)",
    "ALTER POLICY own ON users USING (false)",
    "DROP POLICY own ON users",
    "CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING",
    "ALTER RULE copies_rule ON copies RENAME TO r",
    "DROP RULE copies_rule ON copies",
    "CREATE STATISTICS s ON zone, age FROM users",
    "CREATE VIEW v AS SELECT * FROM users",
    "CREATE OR REPLACE VIEW crew AS SELECT id FROM users",
    "ALTER VIEW crew RENAME TO gang",
    "DROP VIEW crew",
    "CREATE MATERIALIZED VIEW m AS SELECT * FROM users",
    "REFRESH MATERIALIZED VIEW zones",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY zones",
    "DROP MATERIALIZED VIEW zones",
    "ALTER SEQUENCE numbers INCREMENT 2",
    "ALTER SEQUENCE numbers RENAME TO digits",
    "DROP SEQUENCE numbers",
    "COMMENT ON TABLE users IS 'x'",
    "COMMENT ON COLUMN users.zone IS 'x'",
    "COMMENT ON VIEW crew IS 'x'",
    "COMMENT ON INDEX users_zone_idx IS 'x'",
    "COMMENT ON SEQUENCE numbers IS 'x'",
    "COMMENT ON CONSTRAINT later ON users IS 'x'",
    "COMMENT ON TRIGGER touched ON users IS 'x'",
    "COMMENT ON POLICY own ON users IS 'x'",
    "GRANT SELECT ON users TO public",
    "SELECT * FROM users",
    "SELECT * FROM users FOR UPDATE",
    "SELECT * FROM users FOR KEY SHARE",
    "INSERT INTO copies SELECT id, zone FROM users",
    "UPDATE copies SET zone = 'y'",
    "UPDATE copies SET zone = users.zone FROM users WHERE users.id = copies.id",
    "DELETE FROM copies USING users WHERE users.id = copies.id",
    "MERGE INTO orphans USING users ON orphans.id = users.id WHEN NOT MATCHED THEN INSERT VALUES (users.id)",
    "WITH x AS (DELETE FROM scraps RETURNING id) INSERT INTO orphans SELECT id FROM x",
];

#[tokio::test]
async fn locks_rewrites_and_scans_are_those_of_the_server() {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute(SCHEMA).await.expect("schema");
    let mut wrong = Vec::new();
    for case in CASES {
        wrong.extend(compare(&client, case).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A relation as the server sees it.
struct Relation {
    lock: Option<String>,
    file: i64,
    scans: i64,
    kind: String,
}

async fn compare(client: &Client, case: &str) -> Vec<String> {
    let script = Script::parse(case).expect(case);
    let read = effects(&script).remove(0);
    client.batch_execute("BEGIN").await.expect("begin");
    let before = relations(client).await;
    if let Err(error) = client.batch_execute(case).await {
        client.batch_execute("ROLLBACK").await.expect("rollback");
        return vec![format!("{case}: {:?}", error.as_db_error().map(|error| error.message().to_owned()))];
    }
    let after = relations(client).await;
    client.batch_execute("ROLLBACK").await.expect("rollback");

    let mut wrong = Vec::new();
    for Effect { relation, lock, rewrites, scans, new, hazard, .. } in &read.effects {
        let oid = before.iter().find(|(_, (name, _))| name == relation).map(|(oid, _)| oid);
        let Some((oid, old)) = oid.and_then(|oid| Some((oid, &before.get(oid)?.1))) else {
            if !new {
                wrong.push(format!("{case}: there is no {relation}"));
            }
            continue;
        };
        // What is dropped is gone from the catalogue, but not its lock: the snapshot reads that by number.
        let Some((_, now)) = after.get(oid) else {
            wrong.push(format!("{case}: {relation} is not seen"));
            continue;
        };
        if now.lock.as_deref() != Some(&lock.to_string()) {
            wrong.push(format!("{case}: {relation} is locked {:?}, not {lock}", now.lock));
        }
        let depends = hazard.as_ref().is_some_and(|hazard| hazard.contains("unless"));
        let emptied = case.starts_with("TRUNCATE") || case.starts_with("DROP");
        // A sequence is one row, which ALTER SEQUENCE writes anew.
        let sequence = now.kind == "S";
        if !depends && !emptied && !sequence && (now.file != old.file) != *rewrites {
            wrong.push(format!("{case}: {relation} rewritten: {}", now.file != old.file));
        }
        let schema_change = case.starts_with("ALTER") || case.starts_with("CREATE INDEX");
        if schema_change && !depends && !rewrites && (now.scans > old.scans) != *scans {
            wrong.push(format!("{case}: {relation} scanned: {}", now.scans > old.scans));
        }
    }
    // The table of an index and those of a view are not in the text.
    let behind = ["DROP INDEX", "REINDEX INDEX", "REFRESH"].iter().any(|start| case.starts_with(start));
    for (oid, (name, now)) in after.iter().filter(|_| !behind) {
        let known = read.effects.iter().any(|effect| effect.relation == *name)
            || before
                .get(oid)
                .is_some_and(|(name, _)| read.effects.iter().any(|effect| effect.relation == *name));
        if now.lock.is_some()
            && !known
            && before.contains_key(oid)
            && matches!(&*now.kind, "r" | "p" | "v" | "m")
        {
            wrong.push(format!("{case}: {name} is locked {:?} as well", now.lock));
        }
    }
    wrong
}

/// Every relation in the schemas of users, by number, with this session's strongest lock.
async fn relations(client: &Client) -> BTreeMap<u32, (String, Relation)> {
    let sql = "
        WITH held AS (
            SELECT relation, max(array_position(ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock',
                'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock'], mode)) AS level
            FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' GROUP BY relation
        )
        SELECT coalesce(c.oid, held.relation),
               coalesce(c.relname::text, ''),
               (ARRAY['ACCESS SHARE', 'ROW SHARE', 'ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE', 'SHARE',
                      'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'])[held.level],
               coalesce(c.relfilenode::bigint, 0),
               coalesce(pg_stat_get_xact_numscans(c.oid), 0),
               coalesce(c.relkind::text, '')
        FROM pg_class c
        FULL JOIN held ON held.relation = c.oid
        LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid IS NULL OR n.nspname IN ('public', 'archive')";
    let rows = client.query(sql, &[]).await.expect("relations");
    rows.iter()
        .map(|row| {
            let relation =
                Relation { lock: row.get(2), file: row.get(3), scans: row.get(4), kind: row.get(5) };
            (row.get(0), (row.get(1), relation))
        })
        .collect()
}
