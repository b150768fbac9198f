//! Where statements begin and end, to the byte, and that time grows with the length of a file and no faster.

use std::time::{Duration, Instant};

use crate::{Open, Refusal, Script};

fn texts(sql: &str) -> Result<Vec<String>, (u32, Refusal)> {
    let script = Script::parse(sql)?;
    Ok(script.statements().iter().map(|statement| script.text(statement).to_owned()).collect())
}

#[test]
fn statements_are_cut_to_the_byte() {
    let check = |sql: &str, expect: &[&str]| assert_eq!(texts(sql).expect(sql), expect, "{sql}");
    check("", &[]);
    check("\u{feff} \r\n;;-- nothing\r", &[]);
    check("  SELECT 1 ;\r\n\tSELECT\r\n2\r\n", &["SELECT 1", "SELECT\r\n2"]);
    check("SELECT 1 -- one; two\n; SELECT 2 /* ; */", &["SELECT 1", "SELECT 2"]);
    check("SELECT 1 -- one\r; SELECT 2", &["SELECT 1", "SELECT 2"]);
    check("SELECT /* ; /* ; */ ; */ 1;SELECT 2", &["SELECT /* ; /* ; */ ; */ 1", "SELECT 2"]);
    check("SELECT '; '';' ';';SELECT 2", &["SELECT '; '';' ';'", "SELECT 2"]);
    check(r"SELECT '\';SELECT 2", &[r"SELECT '\'", "SELECT 2"]);
    check(r"SELECT E'\';';SELECT e'\\';SELECT 2", &[r"SELECT E'\';'", r"SELECT e'\\'", "SELECT 2"]);
    check("SELECT E'a' -- c\n  '\\';';SELECT 2", &["SELECT E'a' -- c\n  '\\';'", "SELECT 2"]);
    check("SELECT E'a' '\\';SELECT 2", &["SELECT E'a' '\\'", "SELECT 2"]);
    check("SELECT 'a'\n'\\';SELECT 2", &["SELECT 'a'\n'\\'", "SELECT 2"]);
    check("SELECT E'a'\r\n'b\\''\r'c\\'';SELECT 2", &["SELECT E'a'\r\n'b\\''\r'c\\''", "SELECT 2"]);
    check("SELECT U&'\\';SELECT u&\"d\\0061;\" FROM t", &["SELECT U&'\\'", "SELECT u&\"d\\0061;\" FROM t"]);
    check("SELECT B'1;', x';', N';';SELECT 2", &["SELECT B'1;', x';', N';'", "SELECT 2"]);
    check("SELECT 1 AS \";\"\";\";SELECT 2", &["SELECT 1 AS \";\"\";\"", "SELECT 2"]);
    check(
        "SELECT $$;$a$;$$;SELECT $a$;$$;$b$;$$a$;SELECT 2",
        &["SELECT $$;$a$;$$", "SELECT $a$;$$;$b$;$$a$", "SELECT 2"],
    );
    check("SELECT $ä$;$ä$;SELECT 2", &["SELECT $ä$;$ä$", "SELECT 2"]);
    check("SELECT a$b$c;SELECT d$b$;SELECT 2", &["SELECT a$b$c", "SELECT d$b$", "SELECT 2"]);
    check("PREPARE p AS SELECT $1;SELECT $2$;$3", &["PREPARE p AS SELECT $1", "SELECT $2$", "$3"]);
    check("SELECT 1+-- ;\n2;SELECT 4*/*;*/5", &["SELECT 1+-- ;\n2", "SELECT 4*/*;*/5"]);
    check("SELECT (1;SELECT 2", &["SELECT (1", "SELECT 2"]);
    check(
        "CREATE OR REPLACE RULE r AS ON INSERT TO t DO (a; b);SELECT 2",
        &["CREATE OR REPLACE RULE r AS ON INSERT TO t DO (a; b)", "SELECT 2"],
    );
    check(
        "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT a FROM t;SELECT 2",
        &["CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT a FROM t", "SELECT 2"],
    );
    check("DO $$ BEGIN PERFORM 1; END $$;SELECT 2;", &["DO $$ BEGIN PERFORM 1; END $$", "SELECT 2"]);
}

#[test]
fn a_body_of_sql_statements_is_one_statement() {
    let check = |body: &str| {
        for create in ["CREATE FUNCTION f(a int)", "create or replace procedure s.f(begin atomic)"] {
            let routine = format!("{create} BEGIN /* ; */ ATOMIC {body} END");
            let sql = format!("{routine};\nSELECT 2;");
            assert_eq!(texts(&sql).expect(&sql), [routine.as_str(), "SELECT 2"], "{sql}");
        }
    };
    check("");
    check("SELECT 1;");
    check("SELECT CASE WHEN a THEN CASE WHEN b THEN 1 END ELSE 2 END; SELECT 3;");
    check("SELECT (CASE a WHEN 1 THEN 2 END); RETURN 1;");
    check("SELECT 1 AS end; SELECT t.end, t . case FROM t;");
    check("SELECT \"end\", 'END', $$ END; $$; -- END;\n");
    check("UPDATE t SET a = 1; DELETE FROM t;");
}

#[test]
fn what_is_left_open_is_named_with_its_line() {
    let check = |sql: &str, expect: (u32, Refusal)| assert_eq!(texts(sql).expect_err(sql), expect, "{sql}");
    let open = |line, open| (line, Refusal::Unterminated(open));
    check("SELECT 1;\nSELECT 'a\nb", open(2, Open::String));
    check("SELECT 'it\\'s'", open(1, Open::String));
    check("\r\n\r\nSELECT E'\\';", open(3, Open::String));
    check("\r\rSELECT B'1", open(3, Open::String));
    check("SELECT \"a", open(1, Open::Identifier));
    check("SELECT U&\"a", open(1, Open::Identifier));
    check("SELECT 1; /* /* */", open(1, Open::Comment));
    check("SELECT $a$ $b$ $$", open(1, Open::DollarQuote));
    check("SELECT 1;\nSELECT 'a\0'", (2, Refusal::Nul));
    check(
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 case;\nEND;\nCOMMIT;",
        (3, Refusal::TransactionControl),
    );
    let error = Refusal::Unterminated(Open::DollarQuote).to_string();
    assert_eq!(error, "opens a dollar-quoted string ($…$) that never ends");
}

#[test]
fn comments_and_white_space_do_not_change_the_loose_checksum() {
    let loose = |sql: &str| Script::parse(sql).expect(sql).loose_checksum().clone();
    let same = |left: &str, right: &str| assert_eq!(loose(left), loose(right), "{left} = {right}");
    same("SELECT 1", "\u{feff}-- a\r\nSELECT /* b */\t1 ;; -- c");
    same("SELECT a . b ( c )", "SELECT a.b(c)");
    same("SELECT 'a\r\nb'", "SELECT 'a\nb'");
    same("", "-- nothing");
    let differ = |left: &str, right: &str| assert_ne!(loose(left), loose(right), "{left} ≠ {right}");
    differ("SELECT a b", "SELECT ab");
    differ("SELECT 'a b'", "SELECT 'a  b'");
    differ("SELECT $$a b$$", "SELECT $$a\tb$$");
    differ("SELECT 1 <= 2", "SELECT 1 < = 2");
    differ("SELECT 1; SELECT 2", "SELECT 1 SELECT 2");
    differ("SELECT a", "SELECT A");
    differ("SELECT 1", "SELECT 1; SELECT 2");
    assert!(loose("").as_str().starts_with("sha256-tokens:"));
}

#[test]
fn the_first_statements_have_a_checksum_of_their_own() {
    let script = Script::parse("SELECT 1;\n-- a\nSELECT 2; SELECT 3").expect("script");
    let check = |count: usize, sql: &str| {
        let alone = Script::parse(sql).expect(sql);
        assert_eq!(script.loose_checksum_of_first(count), *alone.loose_checksum(), "{count}");
    };
    check(0, "");
    check(1, "SELECT 1");
    check(2, "SELECT 1; SELECT 2;");
    check(3, "SELECT 1; SELECT 2; SELECT 3");
    check(9, "SELECT 1; SELECT 2; SELECT 3");
}

/// What could be slow. In proportion each takes a second or two here, where nothing is optimised; with the square of the length
/// it would be many minutes.
#[test]
fn long_files_take_time_in_proportion() {
    let repeated = |piece: &str| piece.repeat(1_000_000 / piece.len());
    let check = |sql: String, statements: usize| {
        let began = Instant::now();
        let script = Script::parse(&sql).expect("parses");
        let took = began.elapsed();
        assert_eq!(script.statements().len(), statements);
        assert!(took < Duration::from_secs(30), "{took:?} for {}", &sql[..20]);
    };
    let insert = repeated("INSERT INTO t VALUES (1, 'text', E'\\'', $$x$$);\n");
    check(insert.clone(), insert.lines().count());
    check(format!("SELECT 1 {}", repeated("+ 1 ")), 1);
    check(format!("SELECT E'a'{}", repeated("\n'b'")), 1);
    check(format!("SELECT {}", repeated("$a1 ")), 1);
    check(format!("SELECT '{}'", repeated("a")), 1);
    check(format!("CREATE FUNCTION f() BEGIN ATOMIC {}END", repeated("SELECT CASE 1 END;")), 1);
    check(repeated("-- prose: text\n"), 0);
}
