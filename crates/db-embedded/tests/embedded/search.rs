//! Which programs are found, and what is said when none fits.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use db_embedded::{Search, Server, installations};

use crate::support::Place;

fn only(folder: &Path) -> Search {
    Search { path: None, folders: vec![folder.to_path_buf()] }
}

/// A folder with programs that say a version and nothing more.
fn pretend(bin_dir: &Path, version: &str) {
    fs::create_dir_all(bin_dir).unwrap();
    for program in ["postgres", "initdb"] {
        let path = bin_dir.join(program);
        fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn links_count_through_what_they_point_to() {
    let place = Place::new();
    let real = installations(&Search::with_path(std::env::var_os("PATH"))).remove(0);
    assert!(real.bin_dir.join("initdb").is_file());
    assert_eq!(real.bin_dir, real.bin_dir.canonicalize().unwrap());

    symlink(real.bin_dir.join("postgres"), place.root().join("postgres")).unwrap();
    let search = Search { path: Some(place.root().into()), folders: vec![real.bin_dir.clone()] };
    assert_eq!(installations(&search), [real]);
}

#[test]
fn the_newest_comes_first_and_half_an_installation_does_not_count() {
    let place = Place::new();
    pretend(&place.root().join("pg/98.10/bin"), "98.10");
    pretend(&place.root().join("pg/98.9/bin"), "98.9");
    pretend(&place.root().join("other"), "99beta1 (Debian 99)");
    pretend(&place.root().join("half"), "100.1");
    fs::remove_file(place.root().join("half/initdb")).unwrap();
    let path = std::env::join_paths([place.root().join("half"), place.root().join("other")]).unwrap();
    let search = Search { path: Some(path), folders: vec![place.root().join("pg/*/bin")] };

    let found: Vec<_> = installations(&search).iter().map(|it| it.version.to_string()).collect();
    assert_eq!(found, ["99beta1", "98.10", "98.9"]);
}

#[cfg(not(feature = "download"))]
#[tokio::test]
async fn without_any_it_says_where_it_looked_and_what_helps() {
    let place = Place::new();
    let empty = place.root().join("empty");
    let error = Server::start(place.settings().search(only(&empty))).await.unwrap_err();
    assert!(matches!(error, db_embedded::Error::NotInstalled { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("no PostgreSQL found (tried {}", empty.display())), "{text}");
    assert!(text.contains("install it"), "{text}");
}

#[tokio::test]
async fn a_folder_of_another_major_is_left_alone() {
    let place = Place::new();
    let data = place.data();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "12\n").unwrap();
    let programs = place.root().join("bin");
    pretend(&programs, "98.1");

    let error = Server::start(place.settings().search(only(&programs))).await.unwrap_err();
    let expect = format!(
        "{} was made by PostgreSQL 12, which is not installed (found 98.1 in {})",
        data.display(),
        programs.display()
    );
    assert_eq!(error.to_string(), expect);
    let inside: Vec<PathBuf> = fs::read_dir(&data).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(inside, [data.join("PG_VERSION")]);
}

#[tokio::test]
async fn what_is_no_database_is_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("pictures")).unwrap();
    let error = Server::start(place.settings()).await.unwrap_err();
    let expect = format!("{} is not empty and holds no database (no PG_VERSION)", place.data().display());
    assert_eq!(error.to_string(), expect);
    assert!(place.data().join("pictures").exists());
}
