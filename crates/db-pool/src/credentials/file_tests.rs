//! Passwords in real files: what is read, when it is read again, and what is said when it cannot be.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use db_core::{Action, ExposeSecret};

use super::*;

async fn password_in(file: &FilePassword) -> String {
    let password = file.password().await.expect("a password").expect("some");
    password.expose_secret().to_owned()
}

/// Writes so that nothing tells the new contents from the old but the contents.
fn write_unnoticed(path: &Path, text: &str) {
    let modified = fs::metadata(path).and_then(|about| about.modified()).expect("a time");
    fs::write(path, text).expect("a file");
    fs::File::options().write(true).open(path).and_then(|file| file.set_modified(modified)).expect("a time");
}

#[tokio::test]
async fn one_newline_at_the_end_is_not_part_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    for (text, expect) in [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        (" a b ", " a b "),
        ("a\r", "a\r"),
        ("é", "é"),
    ] {
        fs::write(&path, text).expect("a file");
        assert_eq!(password_in(&FilePassword::new(&path)).await, expect, "{text:?}");
    }
}

/// A12: a new password needs no restart.
#[tokio::test]
async fn it_is_read_again_when_it_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    fs::write(&path, "first").expect("a file");
    let file = FilePassword::new(&path);
    assert_eq!(password_in(&file).await, "first");

    fs::write(&path, "longer than the first").expect("a file");
    assert_eq!(password_in(&file).await, "longer than the first");

    let earlier = SystemTime::now() - Duration::from_secs(1000);
    fs::write(&path, "shorter").expect("a file");
    assert_eq!(password_in(&file).await, "shorter");
    fs::write(&path, "changed").expect("a file");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(earlier)).expect("a time");
    assert_eq!(password_in(&file).await, "changed");

    // As orchestrators do it: another file under the same name.
    fs::write(folder.path().join("next"), "mounted").expect("a file");
    fs::rename(folder.path().join("next"), &path).expect("a new name");
    assert_eq!(password_in(&file).await, "mounted");
}

/// A12: whatever the file's time says, what the server refused is not given again.
#[tokio::test]
async fn it_is_read_again_when_it_was_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    fs::write(&path, "first").expect("a file");
    let file = FilePassword::new(&path);
    assert_eq!(password_in(&file).await, "first");
    write_unnoticed(&path, "other");
    assert_eq!(password_in(&file).await, "first", "nothing tells that it changed");
    file.refused();
    assert_eq!(password_in(&file).await, "other");
    file.refused();
    file.refused();
    assert_eq!(password_in(&file).await, "other");
}

#[tokio::test]
async fn what_cannot_be_used_is_named_without_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    let check = async |bytes: &[u8], expect: &str| {
        fs::write(&path, bytes).expect("a file");
        let error = FilePassword::new(&path).password().await.expect_err(expect);
        assert_eq!(error.to_string(), format!("the password file {} {expect}", path.display()));
    };
    check(b"", "is empty").await;
    check(b"\n", "is empty").await;
    check(b"hunter2\0", "has a NUL byte").await;
    check(b"hunter2\xff", "is not UTF-8").await;
    check(&[b'x'; LONGEST + 1], "is longer than 64 KiB").await;
    check(&[b'x'; LONGEST * 2], "is longer than 64 KiB").await;

    let missing = folder.path().join("missing");
    let error = FilePassword::new(&missing).password().await.expect_err("no file");
    let expect = format!("cannot read the password file {}: No such file", missing.display());
    assert!(error.to_string().starts_with(&expect), "{error}");
    assert_eq!(error.advice().read, Action::Never);
    let error = FilePassword::new(folder.path()).password().await.expect_err("a folder");
    assert!(error.to_string().contains("Is a directory"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_being_replaced_is_worth_another_try() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    fs::write(&path, "first").expect("a file");
    let file = FilePassword::new(&path);
    assert_eq!(password_in(&file).await, "first");
    fs::remove_file(&path).expect("no file");
    let error = file.password().await.expect_err("no file");
    assert_eq!(error.advice().read, Action::Retry);
    fs::write(&path, "").expect("a file");
    assert_eq!(file.password().await.expect_err("an empty file").advice().read, Action::Retry);
    fs::write(&path, "second").expect("a file");
    assert_eq!(password_in(&file).await, "second");
    assert!(!format!("{file:?}").contains("second"));
}
