//! Which statements a file has, and which of them are refused.

use super::*;

#[test]
fn statements_are_found_by_their_lines() {
    let check = |sql: &str, expect: &[u32]| {
        let script = Script::parse(sql).expect(sql);
        let lines: Vec<u32> = script.statements.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, expect, "{sql}");
    };
    check("", &[]);
    check("-- nothing to undo\n/* at\nall */ ;;", &[]);
    check("SELECT 1", &[1]);
    check("SELECT 1;\n\n-- two\nSELECT\n 2;", &[1, 4]);
    check("SELECT ';' , \";\", $$;$$, $a$;$$;$a$, E'\\';', U&';';\nSELECT 2", &[1, 2]);
    check("SELECT 1 /* ; /* ; */ ; */;\nSELECT 2", &[1, 2]);
    check("CREATE RULE r AS ON INSERT TO t DO ALSO (\nDELETE FROM a;\nDELETE FROM b;\n);\nSELECT 1", &[1, 5]);
    check(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\nSELECT 1;\nSELECT CASE WHEN true THEN 1 END;\nEND;\nSELECT 1",
        &[1, 5],
    );
    check("DO $$\nBEGIN\n  COMMIT;\nEND\n$$;\nSELECT 1;", &[1, 6]);
}

#[test]
fn what_ends_the_transaction_is_refused() {
    use Refusal::{ClientCopy, MetaCommand, TransactionControl};
    let check = |sql: &str, expect: Option<(u32, Refusal)>| {
        assert_eq!(Script::parse(sql).err(), expect, "{sql}");
    };
    let control = |line| Some((line, TransactionControl));
    check("COMMIT", control(1));
    check("SELECT 1;\ncommit;", control(2));
    check("/* a */ Begin;", control(1));
    check("SELECT 1; END", control(1));
    check("ABORT;", control(1));
    check("ROLLBACK;", control(1));
    check("ROLLBACK AND CHAIN;", control(1));
    check("START TRANSACTION;", control(1));
    check("START\n-- a comment\nTRANSACTION;", control(1));
    check("PREPARE TRANSACTION 'x';", control(1));
    check("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;\nCOMMIT;", control(2));
    check("SELECT begin atomic FROM t;\nCOMMIT;", control(2));
    check("CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC SELECT 1; END;", None);
    check("ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; SAVEPOINT a; RELEASE a;", None);
    check("SELECT 'COMMIT;' ; SELECT $$COMMIT;$$; -- COMMIT;", None);
    check("CREATE TABLE \"commit\" (\"begin\" int, ends int)", None);
    check("PREPARE p AS SELECT 1", None);
    check("SELECT 1;\n\\copy t FROM 'f'", Some((2, MetaCommand)));
    check("\\i other.sql", Some((1, MetaCommand)));
    check("SELECT '\\copy', E'\\n'", None);
    check("COPY t FROM stdin;\n1\n", Some((1, ClientCopy)));
    check("COPY t TO STDOUT;", Some((1, ClientCopy)));
    check("COPY t FROM '/tmp/f';", None);
}

#[test]
fn a_byte_order_mark_and_line_ends_do_not_change_the_checksum() {
    let unix = Script::parse("SELECT 1;\nSELECT 2;\n").expect("unix");
    let windows = Script::parse("\u{feff}SELECT 1;\r\nSELECT 2;\r\n").expect("windows");
    let edited = Script::parse("SELECT 1;\nSELECT 3;\n").expect("edited");
    assert_eq!(unix.checksum(), windows.checksum());
    assert_eq!(windows.sql(), "SELECT 1;\r\nSELECT 2;\r\n", "is sent as it is");
    assert_ne!(unix.checksum(), edited.checksum());
}

#[test]
fn positions_of_the_server_count_characters() {
    let script = Script::parse("-- ä\nSELECT\n  nonsense").expect("script");
    assert_eq!((script.line_at(0), script.line_at(1), script.line_at(5), script.line_at(6)), (1, 1, 1, 2));
    assert_eq!(script.line_at(15), 3);
}
