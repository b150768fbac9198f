//! Which files make which migrations, and which make none.

use std::fs;

use super::*;
use crate::Migration;

const BOTH: &str = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;";

fn show(migrations: &Migrations) -> Vec<String> {
    let show = |migration: &Migration| {
        let arrow = if migration.down().is_some() { "<>" } else { ">" };
        format!("{}{arrow}{}", migration.version(), migration.name())
    };
    migrations.iter().map(show).collect()
}

/// `name`, or `name=content`, or `name/` for a directory: in memory and on disk.
fn load(files: &[&str]) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().expect("directory");
    for file in files {
        let (name, text) = file.split_once('=').unwrap_or((file, "SELECT 1;"));
        let path = dir.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).expect("directory");
            continue;
        }
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
    let on_disk = Migrations::from_dir(dir.path()).map_err(|error| error.to_string());
    if !files.iter().any(|file| file.ends_with('/')) {
        let files = files.iter().map(|file| file.split_once('=').unwrap_or((file, "SELECT 1;")));
        let mut files: Vec<_> = files.collect();
        files.sort_unstable();
        let in_memory = Migrations::from_files(files).map_err(|error| error.to_string());
        assert_eq!(in_memory.as_ref().map(show), on_disk.as_ref().map(show));
    }
    on_disk.as_ref().map(show).map_err(Clone::clone)
}

#[test]
fn files_pair_up_in_the_order_of_their_numbers() {
    let check = |files: &[&str], expect: &[&str]| {
        assert_eq!(load(files).expect("loads"), expect, "{files:?}");
    };
    check(&[], &[]);
    check(&["001_a.sql", "001_a-down.sql"], &["001<>a"]);
    check(&["10_b.sql", "9_a_b-c.sql"], &["9>a_b-c", "10>b"]);
    check(&["20260101120000123456789_a.sql", "2_b.sql"], &["2>b", "20260101120000123456789>a"]);
    check(&["1_two words.sql", "1_two words-down.sql="], &["1<>two words"]);
    check(&["1_a.up.sql", "1_a.down.sql", "2_b.c.up.sql"], &["1<>a", "2>b.c"]);
    check(&["1_a/up.sql", "1_a/down.sql=-- nothing", "2_b/up.sql"], &["1<>a", "2>b"]);
    check(
        &["2023-01-02-030405_a/up.sql", "20230102030404_b/up.sql"],
        &["20230102030404>b", "20230102030405>a"],
    );
    check(&["1_a.sql=-- migrate:up\nSELECT 1", "2_b.sql=-- migrate:up\n-- migrate:down\n"], &["1>a", "2<>b"]);
    check(
        &["1_a.sql=-- +goose Up\n-- +goose Down\n", "2_slow-down.sql=-- migrate:up"],
        &["1<>a", "2>slow-down"],
    );
    check(&["1_a.sql=SELECT '\n-- migrate:up\n';"], &["1>a"]);
}

#[test]
fn what_is_no_migration_is_ignored() {
    let check = |files: &[&str]| {
        let all: Vec<&str> = files.iter().copied().chain(["001_a.sql"]).collect();
        assert_eq!(load(&all).expect("loads"), ["001>a"], "{files:?}");
    };
    check(&["README.md", ".#001_a.sql", ".gitkeep", ".DS_Store", "001_a.sql~", "notes.txt", "embed.go"]);
    check(&["001_a.sql.orig", "#001_a.sql#", "structure.dump", ".hidden/up.sql"]);
    check(&["seeds/users.sql", "seeds/up.sql", "archive/001_old.sql", "archive/2020/up.sql"]);
    check(&["2020_archive/", "2021_archive/notes.sql"]);
}

#[test]
fn a_file_without_a_clear_place_is_named() {
    let check = |files: &[&str], expect: &str| {
        assert_eq!(load(files).expect_err(expect), expect, "{files:?}");
    };
    let name = |file: &str| {
        format!(
            "{file} fits no migration, expected NNN_name.sql and NNN_name-down.sql, NNN_name.up.sql and \
             NNN_name.down.sql, or NNN_name/up.sql and NNN_name/down.sql"
        )
    };
    let fits_nowhere = |file: &str| check(&[file], &name(file));
    fits_nowhere("users.sql");
    fits_nowhere("001.sql");
    fits_nowhere("20240101120000.sql");
    fits_nowhere("001_.sql");
    fits_nowhere("001-down.sql");
    fits_nowhere("001_-down.sql");
    fits_nowhere("001_.up.sql");
    fits_nowhere("001_a.SQL");
    fits_nowhere("v1_a.sql");
    fits_nowhere("users/up.sql");
    check(&["001_a.sql", "001_a-down-down.sql"], &name("001_a-down-down.sql"));
    check(&["001_a/up.sql", "001_a/data.sql"], &name("001_a/data.sql"));
    check(&["001_a.sql", "1_b.sql"], "001_a.sql and 1_b.sql have the same version");
    check(&["0-1_a/up.sql", "1_b/up.sql"], "0-1_a/up.sql and 1_b/up.sql have the same version");
    let orphan = |file: &str, expected: &str| {
        check(&[file], &format!("{file} undoes {expected}, which does not exist"));
    };
    orphan("001_a-down.sql", "001_a.sql");
    orphan("001_a.down.sql", "001_a.up.sql");
    orphan("001_a/down.sql", "001_a/up.sql");
    check(&["001_a.sql", "001_b-down.sql"], "001_b-down.sql undoes 001_b.sql, which does not exist");
    check(&["001_a/up.sql", "002_b/"], "002_b is named like a migration, but has no up.sql");
    check(&["001_a/README.md"], "001_a is named like a migration, but has no up.sql");
    let mixed = |first: &str, second: &str| {
        let error = load(&[first, second]).expect_err("mixed");
        let file = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
        let expect =
            format!("{} and {} follow different layouts: one directory has one", file(first), file(second));
        assert_eq!(error, expect);
    };
    let both = format!("3_c.sql={BOTH}");
    mixed("1_a.sql", "2_b.up.sql");
    mixed("1_a.sql", &both);
    mixed("1_a.sql", "2_b/up.sql");
    mixed("1_a.up.sql", &both);
    mixed("1_a.up.sql", "2_b/up.sql");
    mixed(&both, "4_b/up.sql");
}

#[test]
fn markers_divide_a_file_and_stay_where_they_may_be() {
    let check = |text: &str, expect: &str| {
        let error = load(&[&format!("1_a.sql={text}")]).expect_err(expect);
        assert!(error.starts_with(expect), "{text}\n{error}");
    };
    check("-- migrate:down\nSELECT 1", "1_a.sql:1 begins the way down, but no line above it");
    check("-- migrate:up\n\n-- migrate:up", "1_a.sql:3 begins the same way a second time");
    check("-- migrate:up\n-- migrate:down\n-- migrate:down", "1_a.sql:3 begins the same way a second time");
    check(
        "-- migrate:up\n-- migrate:down\n-- migrate:up",
        "1_a.sql:3 begins the way up, but the way down is",
    );
    check("-- a\nSELECT 1;\n-- migrate:up", "1_a.sql:2 is SQL in front of the line");
    check("-- migrate:up\nSELECT 1;\n-- migrate:down\nCOMMIT", "1_a.sql:4 begins or ends a transaction");
    check("-- migrate:up bla", "1_a.sql:1 says `-- migrate:up bla`, which only another tool");
    let unexpected = load(&["1_a.up.sql=SELECT 1;\n-- migrate:down\nDROP TABLE a"]).expect_err("unexpected");
    assert_eq!(unexpected, "1_a.up.sql:2 divides a file that holds one way only by its name");

    let text = "\u{feff}-- phase: expand\r\n-- migrate:up transaction:false\r\nSELECT 1;\r\n-- migrate:down\r\nSELECT\r\n 2;";
    let migrations = Migrations::from_files([("1_a.sql", text)]).expect("loads");
    let migration = migrations.iter().next().expect("one");
    let (up, down) = (migration.up(), migration.down().expect("down"));
    assert_eq!(up.sql(), "-- phase: expand\r\n-- migrate:up transaction:false\r\nSELECT 1;\r\n");
    assert_eq!(down.sql(), "-- migrate:down\r\nSELECT\r\n 2;");
    assert_eq!((migration.file(), migration.down_file()), ("1_a.sql", "1_a.sql"));
    assert_eq!((up.line_of_statement(0), down.line_of_statement(0)), (Some(3), Some(5)));
    assert_eq!((down.line_at(1), down.line_at(18), down.line_at(27)), (4, 5, 6));
    assert_eq!(down.line_within(&down.statements()[0], 9), 6);
    assert!(up.directives().no_transaction && !down.directives().no_transaction);
    assert_eq!(up.directives().phase, down.directives().phase);
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = Migrations::from_dir("/no/such/directory").expect_err("no directory");
    assert_eq!(error.to_string(), "could not read /no/such/directory");

    let dir = tempfile::tempdir().expect("directory");
    let check = |expect: &str| {
        let error = Migrations::from_dir(dir.path()).expect_err(expect).to_string();
        assert!(error.starts_with(expect), "{error}");
    };
    fs::write(dir.path().join("001_a.sql"), b"SELECT '\xff'").expect("file");
    check("001_a.sql is not UTF-8 text");
    fs::write(dir.path().join("001_a.sql"), "SELECT 1;\nCOMMIT;").expect("file");
    check("001_a.sql:2 begins or ends a transaction");
    fs::remove_file(dir.path().join("001_a.sql")).expect("removed");

    #[cfg(unix)]
    {
        let link = dir.path().join("002_b.sql");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).expect("link");
        check(&format!("could not read {}", link.display()));
        fs::write(dir.path().join("elsewhere"), "SELECT 1").expect("file");
        assert_eq!(show(&Migrations::from_dir(dir.path()).expect("follows the link")), ["002>b"]);
    }
}

#[test]
fn hundreds_of_files_load_in_order() {
    let dir = tempfile::tempdir().expect("directory");
    for number in (1..=400).rev() {
        let create = format!("CREATE TABLE t{number} (id int);\n");
        fs::write(dir.path().join(format!("{number}_t{number}.up.sql")), create).expect("up");
        fs::write(dir.path().join(format!("{number}_t{number}.down.sql")), format!("DROP TABLE t{number};"))
            .expect("down");
    }
    let migrations = Migrations::from_dir(dir.path()).expect("loads");
    let expect: Vec<String> = (1..=400).map(|number| format!("{number}<>t{number}")).collect();
    assert_eq!(show(&migrations), expect);
}
