//! Which statements must run alone, what they make, and which are refused in which kind of file.

use crate::statement::{Alone, Execution};
use crate::{Refusal, Script};

/// How the one statement of a file with `-- no-transaction` runs.
fn execution(sql: &str) -> Result<Execution, Refusal> {
    let script = Script::parse(&format!("-- no-transaction\n{sql}")).map_err(|(_, refusal)| refusal)?;
    assert_eq!(script.statements().len(), 1, "{sql}");
    Ok(script.statements()[0].execution.clone())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_runs_alone_is_known_with_its_names() {
    let check = |sql: &str, expect: Alone| {
        assert_eq!(execution(sql), Ok(Execution::Alone(expect)), "{sql}");
        let transactional = Script::parse(sql).expect_err(sql);
        assert_eq!(transactional, (1, Refusal::NeedsNoTransaction), "{sql}");
    };
    let index = |sql: &str, index: &[&str], table: &[&str], unique| {
        check(sql, Alone::CreateIndex { index: names(index), table: names(table), unique });
    };
    index("CREATE INDEX CONCURRENTLY i ON t (a)", &["i"], &["t"], false);
    index("create unique index concurrently I on Only S.T using btree (a)", &["s", "i"], &["s", "t"], true);
    index(
        "CREATE INDEX /* x */ CONCURRENTLY \"A \"\"b\"\"\" ON \"S\".\"T.u\"(a)",
        &["S", "A \"b\""],
        &["S", "T.u"],
        false,
    );
    index(
        "CREATE INDEX CONCURRENTLY a$b$c ON db . public . t (a)",
        &["public", "a$b$c"],
        &["public", "t"],
        false,
    );
    let (long, cut) = (format!("{}ä", "a".repeat(62)), "a".repeat(62));
    index(&format!("CREATE INDEX CONCURRENTLY {long} ON Ä (a)"), &[&cut], &["Ä"], false);
    let drop = |sql: &str, index: &[&str]| check(sql, Alone::DropIndex { index: names(index) });
    drop("DROP INDEX CONCURRENTLY i", &["i"]);
    drop("DROP INDEX CONCURRENTLY IF EXISTS \"S\".I CASCADE", &["S", "i"]);
    check("CREATE DATABASE D OWNER o", Alone::CreateDatabase { name: "d".to_owned() });
    check("DROP DATABASE IF EXISTS \"D\" WITH (FORCE)", Alone::DropDatabase { name: "D".to_owned() });
    let detach = |sql: &str, table: &[&str], partition: &[&str]| {
        check(sql, Alone::DetachPartition { table: names(table), partition: names(partition) });
    };
    detach("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", &["t"], &["p"]);
    detach("ALTER TABLE IF EXISTS ONLY s.t DETACH PARTITION \"S\".p CONCURRENTLY", &["s", "t"], &["S", "p"]);

    let repeatable = |sql: &str| check(sql, Alone::Repeatable);
    repeatable("VACUUM");
    repeatable("vacuum (analyze) t");
    repeatable("REINDEX INDEX CONCURRENTLY i");
    repeatable("REINDEX TABLE CONCURRENTLY t");
    repeatable("REINDEX (VERBOSE, CONCURRENTLY) TABLE t");
    repeatable("REINDEX (CONCURRENTLY on, TABLESPACE x) INDEX t");
    repeatable("REINDEX (VERBOSE) DATABASE d");
    repeatable("REINDEX SYSTEM d");
    repeatable("REINDEX SCHEMA s");
    repeatable("CLUSTER");
    repeatable("CLUSTER VERBOSE");
    repeatable("CLUSTER (VERBOSE)");
    repeatable("ALTER SYSTEM SET work_mem = '1MB'");
    repeatable("ALTER DATABASE d SET TABLESPACE t");

    let opaque = |sql: &str| check(sql, Alone::Opaque);
    opaque("CREATE INDEX CONCURRENTLY U&\"d\\0061\" ON t (a)");
    opaque("DROP INDEX CONCURRENTLY a, b");
    opaque("ALTER TABLE t DETACH PARTITION U&\"p\" CONCURRENTLY");
    opaque("ALTER TABLE U&\"t\" DETACH PARTITION p CONCURRENTLY");
    opaque("CREATE TABLESPACE t LOCATION '/t'");
    opaque("DROP TABLESPACE IF EXISTS t");
    opaque("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p");
    opaque("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = true)");
    opaque("ALTER SUBSCRIPTION s REFRESH PUBLICATION");
    opaque("ALTER SUBSCRIPTION s SET PUBLICATION p, q");
    opaque("ALTER SUBSCRIPTION s ADD PUBLICATION p WITH (refresh = true)");
}

#[test]
fn what_may_end_a_transaction_or_not_is_left_to_the_server() {
    let check = |sql: &str, expect: Alone| {
        assert_eq!(execution(sql), Ok(Execution::Alone(expect)), "{sql}");
        Script::parse(sql).expect(sql);
    };
    check("CALL p(1)", Alone::Opaque);
    check("DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$", Alone::Opaque);
    check("DO LANGUAGE plpgsql 'begin rollback; end'", Alone::Opaque);
    check("DROP SUBSCRIPTION s", Alone::Opaque);
    check("ALTER SUBSCRIPTION s SET (failover = true)", Alone::Repeatable);
    check("CLUSTER t USING i", Alone::Repeatable);
    check("CLUSTER VERBOSE t", Alone::Repeatable);
    check("REINDEX TABLE t", Alone::Repeatable);
    check("REINDEX (CONCURRENTLY false) TABLE t", Alone::Repeatable);
    check("REINDEX INDEX i", Alone::Repeatable);
}

#[test]
fn everything_else_shares_a_transaction() {
    let check = |sql: &str| {
        assert_eq!(execution(sql), Ok(Execution::InTransaction), "{sql}");
        Script::parse(sql).expect(sql);
    };
    check("CREATE INDEX i ON t (a)");
    check("CREATE INDEX ON t (a)");
    check("CREATE INDEX IF NOT EXISTS i ON t (a)");
    check("CREATE INDEX \"concurrently\" ON t (a)");
    check("CREATE TABLE concurrently (a int)");
    check("DROP INDEX i");
    check("ALTER TYPE e ADD VALUE 'x'");
    check("ALTER TABLE t DETACH PARTITION p FINALIZE");
    check("ALTER TABLE t DETACH PARTITION p");
    check("ALTER TABLE t ADD COLUMN concurrently int");
    check("ALTER DATABASE d SET work_mem = '1MB'");
    check("ALTER DATABASE d RENAME TO e");
    check("REFRESH MATERIALIZED VIEW CONCURRENTLY v");
    check("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = false, enabled)");
    check("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = 'off')");
    check("ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)");
    check("ALTER SUBSCRIPTION s ENABLE");
    check("DO $$ BEGIN RAISE NOTICE 'committed'; END $$");
    check("ANALYZE t");
    check("(SELECT 1)");
    check("SET LOCAL lock_timeout = '1s'");
    check("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    check("DISCARD PLANS");
    check("PREPARE transaction_like AS SELECT 1");
    check("COPY t FROM '/f'");
    check("COPY (SELECT a FROM stdin) TO '/f'");
    check("SELECT a FROM stdin");
    check("START_LIKE");
}

#[test]
fn what_is_refused_is_refused_in_every_file() {
    let check = |sql: &str, expect: &Refusal| {
        assert_eq!(execution(sql).as_ref(), Err(expect), "{sql}");
        assert_eq!(Script::parse(sql).map_err(|(_, refusal)| refusal).as_ref().err(), Some(expect), "{sql}");
    };
    let control = |sql: &str| check(sql, &Refusal::TransactionControl);
    control("BEGIN");
    control("begin isolation level serializable");
    control("START TRANSACTION");
    control("COMMIT");
    control("COMMIT AND CHAIN");
    control("COMMIT PREPARED 'x'");
    control("END");
    control("ROLLBACK");
    control("ROLLBACK PREPARED 'x'");
    control("ROLLBACK WORK");
    control("ABORT");
    control("PREPARE TRANSACTION 'x'");
    check("DISCARD ALL", &Refusal::DiscardAll);
    check("CREATE INDEX CONCURRENTLY ON t (a)", &Refusal::UnnamedIndex);
    check("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", &Refusal::IndexIfNotExists);
    check("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", &Refusal::ClientCopy);
    check("COPY (SELECT 1) TO stdout", &Refusal::ClientCopy);
    check("\\set a 1", &Refusal::MetaCommand);
    check("SELECT 1 \\gset", &Refusal::MetaCommand);
    check("\\connect other", &Refusal::MetaCommand);
}

#[test]
fn savepoints_need_a_transaction() {
    let check = |sql: &str| {
        Script::parse(sql).expect(sql);
        assert_eq!(execution(sql), Err(Refusal::Savepoint), "{sql}");
    };
    check("SAVEPOINT a");
    check("RELEASE a");
    check("RELEASE SAVEPOINT a");
    check("ROLLBACK TO a");
    check("ROLLBACK WORK TO SAVEPOINT a");
    check("ROLLBACK TRANSACTION TO a");
}
