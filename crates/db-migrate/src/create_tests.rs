//! How new files are named, and that no file is lost to them.

use super::*;
use crate::Migrations;

const NOW: &str = "2026-11-21T13:05:09.123456789Z";

/// Makes a migration beside `files` and returns the names of its files.
fn create_in(files: &[&str], name: &str) -> Result<(String, String), String> {
    let dir = tempfile::tempdir().expect("directory");
    for file in files {
        let (file, text) = file.split_once('=').unwrap_or((file, ""));
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
    let now = NOW.parse().expect("time");
    let created = create(dir.path(), name, Some(now)).map_err(|error| error.to_string())?;
    let migrations = Migrations::from_dir(dir.path()).expect("loads");
    let newest = migrations.iter().next_back().expect("newest");
    assert!(newest.up().statements().is_empty() && newest.down().is_some(), "{newest:?}");
    let below = |path: &Path| path.strip_prefix(dir.path()).expect("below").display().to_string();
    assert_eq!((newest.file(), newest.down_file()), (&*below(&created.up), &*below(&created.down)));
    Ok((below(&created.up), below(&created.down)))
}

#[test]
fn new_files_are_named_like_those_that_are_there() {
    let check = |files: &[&str], up: &str, down: &str| {
        let expect = (up.to_owned(), down.to_owned());
        assert_eq!(create_in(files, "Add  Phone!"), Ok(expect), "{files:?}");
    };
    check(&[], "001_add_phone.sql", "001_add_phone-down.sql");
    check(&["009_a.sql"], "010_add_phone.sql", "010_add_phone-down.sql");
    check(&["9_a.sql", "10_b.sql"], "11_add_phone.sql", "11_add_phone-down.sql");
    check(&["99_a.sql"], "100_add_phone.sql", "100_add_phone-down.sql");
    check(&["0001_a.up.sql"], "0002_add_phone.up.sql", "0002_add_phone.down.sql");
    check(&["1_a.sql=-- migrate:up"], "2_add_phone.sql", "2_add_phone.sql");
    check(&["1_a.sql=-- +goose Up"], "2_add_phone.sql", "2_add_phone.sql");
    check(&["1_a/up.sql"], "2_add_phone/up.sql", "2_add_phone/down.sql");
    check(&["20240101120000_a.sql"], "20261121130509_add_phone.sql", "20261121130509_add_phone-down.sql");
    check(
        &["20240101120000123_a.up.sql"],
        "20261121130509123_add_phone.up.sql",
        "20261121130509123_add_phone.down.sql",
    );
    check(&["20261121130509_a.sql"], "20261121130510_add_phone.sql", "20261121130510_add_phone-down.sql");
    check(
        &["2023-01-02-030405_a/up.sql"],
        "2026-11-21-130509_add_phone/up.sql",
        "2026-11-21-130509_add_phone/down.sql",
    );
}

#[test]
fn a_name_becomes_snake_case() {
    let check =
        |name: &str, expect: Option<&str>| assert_eq!(snake_case(name).as_deref(), expect, "{name:?}");
    check("add_phone", Some("add_phone"));
    check("Add Phone!", Some("add_phone"));
    check(" --a  b2-c.sql ", Some("a_b2_c_sql"));
    check("../../etc/passwd", Some("etc_passwd"));
    check("Größe", Some("größe"));
    check("", None);
    check(" ../ ", None);
    let error = create_in(&[], "!").expect_err("unusable");
    assert_eq!(error, "\"!\" cannot name a migration, expected letters and digits");
}

#[test]
fn a_directory_is_made_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().expect("directory");
    let inner = dir.path().join("db/migrations");
    let created = create(&inner, "first", None).expect("created");
    assert_eq!(created.up, inner.join("001_first.sql"));

    // A directory in the place of the second file is no migration, but cannot be written either.
    fs::create_dir(inner.join("002_second-down.sql")).expect("in the way");
    let error = create(&inner, "second", None).expect_err("in the way").to_string();
    assert!(error.starts_with("could not write") && error.ends_with("002_second-down.sql"), "{error}");
    assert!(!inner.join("002_second.sql").exists(), "the first file is removed");

    fs::create_dir(inner.join("002_third.sql")).expect("in the way");
    create(&inner, "third", None).expect_err("in the way");
    assert!(inner.join("002_third.sql").is_dir() && !inner.join("002_third-down.sql").exists());

    fs::write(inner.join("002_fourth.sql"), "COMMIT").expect("file");
    create(&inner, "fifth", None).expect_err("a directory that does not load");
}
