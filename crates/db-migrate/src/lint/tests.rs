//! One bad file per rule, in `fixtures/lint`, and tables of cases for where a rule must and must not speak.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::file::{File, Way};
use super::squawk_rules::{Use, all, of};
use super::{Finding, lint, lint_files, rules};
use crate::{Directives, Migration, Migrations, Phase};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/lint");
const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");

fn show(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { file, rule, severity, line, column, statement, why, instead } in findings {
        let _ = writeln!(text, "{file}:{line}:{column} {severity:?} {rule}");
        let _ = writeln!(text, "    {statement}\n    why:     {why}\n    instead: {instead}\n");
    }
    text
}

#[test]
fn every_rule_has_a_file_that_breaks_it() {
    let findings = lint(&Migrations::from_dir(FIXTURES).expect("fixtures"));
    let broken: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    for rule in all().filter(|rule| matches!(of(*rule), Use::On(_))) {
        assert!(broken.contains(rule.to_string().as_str()), "{rule} has no fixture");
    }
    // The splitter refuses a file with this one, so none can be loaded.
    for rule in rules::ids().filter(|rule| *rule != rules::concurrently_if_not_exists::ID) {
        assert!(broken.contains(rule), "{rule} has no fixture");
    }
    insta::assert_snapshot!(show(&findings));
}

#[test]
fn every_rule_says_what_to_write_instead() {
    for rule in all() {
        match of(rule) {
            Use::On(on) => assert!(!on.instead.is_empty(), "{rule}"),
            Use::Off(reason) => assert!(!reason.is_empty(), "{rule}"),
        }
    }
}

#[test]
fn the_real_migrations_are_clean() {
    insta::assert_snapshot!(show(&lint(&Migrations::from_dir(REAL).expect("migrations"))), @"");
}

/// The rules that are broken, `line:rule`, by one migration.
#[track_caller]
fn check_both(up: &str, down: Option<&str>, expect: &str) {
    let migration = Migration::new("1_a", up, down).expect("migration");
    let findings = lint(&Migrations::new([migration]).expect("migrations"));
    let found: Vec<String> =
        findings.iter().map(|finding| format!("{}:{}", finding.line, finding.rule)).collect();
    assert_eq!(found.join(" "), expect, "{up}\n---\n{down:?}");
}

#[track_caller]
fn check(up: &str, expect: &str) {
    check_both(up, None, expect);
}

#[test]
fn what_a_file_creates_is_not_in_use() {
    check("CREATE TABLE t (id bigint); CREATE INDEX i ON t (id); ALTER TABLE t ADD PRIMARY KEY (id)", "");
    check(
        "CREATE TABLE t (); ALTER TABLE t ADD CONSTRAINT c CHECK (true), ADD UNIQUE (a), ADD COLUMN b uuid NOT NULL",
        "",
    );
    check(
        "CREATE TABLE t (); ALTER TABLE public.t ADD FOREIGN KEY (a) REFERENCES u (id), ALTER a TYPE text",
        "",
    );
    check("CREATE TABLE a.t (); CREATE INDEX i ON b.t (id)", "1:require-concurrent-index-creation");
    check("CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t RENAME TO u; DROP TABLE t", "");
    check("CREATE INDEX i ON t (a); DROP INDEX i", "1:require-concurrent-index-creation");
    check("-- no-transaction\nCREATE TABLE t (id bigint);\nCREATE INDEX i ON t (id)", "");
    check("DROP VIEW v; CREATE VIEW v AS SELECT 1", "");
    check("DROP TABLE t; CREATE TABLE t (id bigint)", "1:ban-drop-table");
    check("ALTER TABLE t RENAME TO u; CREATE TABLE t (id bigint)", "1:renaming-table");
    let function = "CREATE FUNCTION t() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    check(&format!("{function}; ALTER TABLE t DROP COLUMN a"), "1:ban-drop-column");
    check(&format!("DROP FUNCTION t(int); {function}"), "");
    check("-- no-transaction\nCREATE INDEX CONCURRENTLY i ON t (id)", "");
}

#[test]
fn defaults_that_are_the_same_for_each_row() {
    let check =
        |default: &str, expect| check(&format!("ALTER TABLE t ADD COLUMN c text DEFAULT {default}"), expect);
    let rewrites = "1:adding-field-with-default";
    check("now()", "");
    check("-1", "");
    check("(1)", "");
    check("upper('a')", "");
    check("'{}'::jsonb", "");
    check("CURRENT_DATE + 1", "");
    check("interval '1 day'", "");
    check("gen_random_uuid()", rewrites);
    check("(random() * 5)", rewrites);
    check("my_own()", rewrites);
}

#[test]
fn constraints() {
    let check = |action: &str, expect| check(&format!("ALTER TABLE t {action}"), expect);
    check("ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "");
    check("ADD CONSTRAINT c EXCLUDE USING gist (a WITH &&)", "");
    check("ADD CONSTRAINT c UNIQUE USING INDEX i", "");
    check("ADD CONSTRAINT c PRIMARY KEY USING INDEX i", "");
    check("ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u NOT VALID", "");
    check("ADD COLUMN c bigserial NOT NULL", "1:prefer-identity");
    check("ADD COLUMN c integer", "");
    check("ADD COLUMN c \"char\"", "");
    check("ADD COLUMN c text NOT NULL DEFAULT ''", "");
}

#[test]
fn phases() {
    check("DROP TABLE t", "1:ban-drop-table");
    check("-- phase: contract\nDROP TABLE t; ALTER TABLE u DROP COLUMN a", "");
    check("-- phase: expand\nDROP TABLE t", "2:contract-in-expand");
    check("-- phase: migrate\nDROP TABLE t", "2:contract-in-expand");
    check("-- phase: migrate\nALTER TABLE t RENAME TO u", "2:renaming-table");
    check("-- phase: expand\nALTER TYPE mood RENAME VALUE 'a' TO 'b'", "2:contract-in-expand");
    check("-- phase: expand\nALTER TYPE mood ADD VALUE 'a'", "");
    check("-- phase: expand\nALTER INDEX i RENAME TO j", "");
    check("-- phase: expand\nALTER TABLE t DROP CONSTRAINT c, ALTER a DROP NOT NULL", "");
    check(
        "-- phase: expand\nDROP FUNCTION f(int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "",
    );
    check("-- phase: expand\nDROP TRIGGER g ON t", "");
    check("-- phase: contract\nCREATE INDEX i ON t (a)", "2:require-concurrent-index-creation");
}

#[test]
fn enum_values() {
    let rule = "2:enum-value-used-in-same-transaction";
    check("ALTER TYPE m ADD VALUE 'a';\nUPDATE t SET m = 'a' WHERE id = 1", rule);
    check("ALTER TYPE m ADD VALUE 'a';\nALTER TABLE t ALTER m SET DEFAULT 'a'", rule);
    check("ALTER TYPE m ADD VALUE 'a';\nDO $$ BEGIN UPDATE t SET m = 'a'; END $$", rule);
    check("ALTER TYPE m ADD VALUE 'a';\nUPDATE t SET m = 'b' WHERE id = 1", "");
    check("ALTER TYPE m ADD VALUE 'a';\nALTER TYPE m ADD VALUE 'b' AFTER 'a'", "");
    check("ALTER TYPE m ADD VALUE 'a';\nCOMMENT ON TYPE m IS 'a'", "");
    check("CREATE TYPE m AS ENUM ();ALTER TYPE m ADD VALUE 'a';\nUPDATE t SET m = 'a' WHERE id = 1", "");
    check("UPDATE t SET m = 'a' WHERE id = 1; ALTER TYPE m ADD VALUE 'a'", "");
    check("-- no-transaction\nALTER TYPE m ADD VALUE 'a'; UPDATE t SET m = 'a' WHERE id = 1", "");
}

#[test]
fn validation() {
    let both = "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT c";
    check(both, "2:validate-in-same-transaction");
    check(&format!("-- no-transaction\n{both}"), "");
    check(&format!("CREATE TABLE t ();\n{both}"), "");
    check("ALTER TABLE t VALIDATE CONSTRAINT c", "");
    check("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE u VALIDATE CONSTRAINT c", "");
}

#[test]
fn down() {
    let left = "1:down-does-not-undo";
    let table = "CREATE TABLE s.t (id bigint)";
    check_both(table, Some("DROP TABLE s.t"), "");
    check_both(table, Some("DROP TABLE IF EXISTS u, T"), "");
    check_both(table, Some("DROP SCHEMA s CASCADE"), "");
    check_both(table, Some("ALTER TABLE s.t RENAME TO u"), "");
    check_both(table, Some("DO $$ BEGIN EXECUTE 'DROP TABLE s.t'; END $$"), "");
    check_both(table, Some("DROP TABLE s.u"), left);
    check_both(table, Some("-- nothing"), left);
    check_both("", Some(""), "");
    check_both("CREATE TABLE t (); CREATE TABLE t1 PARTITION OF t DEFAULT", Some("DROP TABLE t"), "");
    check_both("CREATE TEMP TABLE t (); SELECT 1", Some("SELECT 2"), "");
    check_both("CREATE TABLE t (); DROP TABLE t", Some("SELECT 2"), "");
    check_both("ALTER TABLE t ADD a int, ADD b int", Some("ALTER TABLE t DROP a"), left);
    check_both("ALTER TABLE t ADD a int", Some("DROP TABLE t"), "");
    let index = "-- lint: ignore require-concurrent-index-creation\nCREATE INDEX i ON t (a, lower(b))";
    check_both(index, Some("DROP INDEX i"), "");
    check_both(index, Some("ALTER TABLE t DROP b"), "");
    check_both(index, Some("ALTER TABLE t DROP c"), "2:down-does-not-undo");
    check_both("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''", Some("DROP FUNCTION f()"), "");
    check_both("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS ''", Some("SELECT 1"), "");
    check_both("CREATE VIEW v AS SELECT 1", Some("CREATE OR REPLACE VIEW v AS SELECT 2"), "");
    check_both("CREATE SEQUENCE q OWNED BY t.a", Some("ALTER TABLE t DROP a"), "");
    let owned = "CREATE SEQUENCE s.q; ALTER SEQUENCE s.q INCREMENT 2; ALTER SEQUENCE s.q OWNED BY t.a";
    check_both(owned, Some("ALTER TABLE t DROP a"), "");
    check_both(owned, Some("ALTER TABLE t DROP b"), left);
    check_both(&format!("CREATE TABLE t (); {owned}"), Some("DROP TABLE t"), "");
    check_both("CREATE SCHEMA IF NOT EXISTS s", Some("SELECT 1"), "");
    check_both("CREATE SCHEMA s", Some("DROP SCHEMA s"), "");
    check_both("CREATE TYPE m AS ENUM ('a')", Some("DROP TYPE m"), "");
    check_both("CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()", Some("DROP TRIGGER g ON t"), "");
    check_both("SELECT 1", Some("DROP INDEX i; DROP TABLE t; ALTER TABLE u ALTER a TYPE int"), "");
}

#[test]
fn long_names() {
    let long = "n".repeat(64);
    check(&format!("CREATE TABLE {long} ()"), "1:identifier-too-long");
    check(&format!("CREATE TABLE \"{}\" ()", "a b ".repeat(16) + "c"), "1:identifier-too-long");
    check(&format!("CREATE TABLE {} ()", "é".repeat(32)), "1:identifier-too-long");
    check(&format!("CREATE TABLE {} ()", "n".repeat(63)), "");
}

#[test]
fn ignoring() {
    check("-- lint: ignore ban-drop-table\nDROP TABLE t", "");
    check("-- lint: ignore prefer-timestamptz\nCREATE TABLE t (a timestamp)", "");
    check("-- squawk-ignore ban-drop-table\nDROP TABLE t;\nDROP TABLE u", "3:ban-drop-table");
    check("-- squawk-ignore contract-in-expand\nSELECT 1", "");
    check("-- lint: ignore ban-drop-tabel\nDROP TABLE t", "1:unknown-rule 2:ban-drop-table");
    check_both("-- lint: ignore down-does-not-undo\nCREATE TABLE t ()", Some("DROP TABLE u"), "");
}

#[test]
fn an_index_that_may_be_invalid() {
    let check = |sql: &str, expect: usize| {
        let directives = Directives::default();
        let file = File::new("1_a.sql", Way::Up, sql, &directives);
        assert_eq!(rules::concurrently_if_not_exists::check(&file).len(), expect, "{sql}");
    };
    check("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", 1);
    check("CREATE INDEX CONCURRENTLY i ON t (a)", 0);
    check("CREATE INDEX IF NOT EXISTS i ON t (a)", 0);
}

#[test]
fn half_a_file_does_no_harm() {
    let mut sql = String::new();
    for migration in Migrations::from_dir(FIXTURES).expect("fixtures").iter() {
        sql += migration.up().sql();
    }
    let directives = Directives { phase: Some(Phase::Expand), ..Directives::default() };
    for end in (0..sql.len()).step_by(97).filter(|end| sql.is_char_boundary(*end)) {
        let up = File::new("1_a.sql", Way::Up, &sql[..end], &directives);
        let down = File::new("1_a-down.sql", Way::Down, &sql[end..], &directives);
        assert!(lint_files(&up, Some(&down)).iter().all(|finding| finding.line > 0));
    }
}

#[test]
fn places_are_those_of_the_file() {
    check("-- é\r\n/* 'x' */ DROP TABLE t;\r\n\r\nDROP VIEW v", "2:ban-drop-table 4:ban-drop-view");
    let migration = Migration::new("1_a", "SELECT 'é'; DROP TABLE -- t\n t", None).expect("migration");
    let findings = lint(&Migrations::new([migration]).expect("migrations"));
    let places: Vec<_> = findings.iter().map(|at| (at.line, at.column, at.statement.as_str())).collect();
    assert_eq!(places, [(1, 13, "DROP TABLE t")]);
}
