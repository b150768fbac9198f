//! Migrations inside the program: read when it is compiled, so that it needs no files where it runs.

/// Embeds a directory of migrations, in any layout that [`Migrations::from_dir`](crate::Migrations::from_dir) knows, and
/// evaluates to `Result<Migrations, SourceError>`. The path is relative to the directory of the calling crate's
/// `Cargo.toml`.
///
/// ```
/// let migrations = db_migrate::embed!("examples/migrations")?;
/// assert_eq!(migrations.len(), 2);
/// # Ok::<(), db_migrate::SourceError>(())
/// ```
///
/// A directory that does not exist does not compile:
///
/// ```compile_fail
/// let migrations = db_migrate::embed!("no/such/directory");
/// ```
///
/// What is wrong with a file is the error of the result, so a test that calls it finds that out before the program is
/// shipped.
///
/// # When are changes noticed?
/// Cargo compiles the crate again when a file that is embedded changes or is gone. It does not know about new files. For
/// these, tell it in the `main` of a `build.rs`:
///
/// ```
/// println!("cargo::rerun-if-changed=migrations");
/// ```
#[macro_export]
macro_rules! embed {
    ($directory:tt) => {{
        const FILES: &[(&str, &str)] = $crate::__embedded_files!($directory);
        $crate::Migrations::from_files(FILES.iter().copied())
    }};
}

#[cfg(test)]
mod tests {
    use crate::Migrations;

    #[test]
    fn an_embedded_directory_is_the_same_as_the_directory() {
        let check = |embedded: Migrations, dir: &str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
            let loaded = Migrations::from_dir(path).expect(dir);
            let show = |migrations: &Migrations| {
                let each = migrations.iter().map(|migration| {
                    let down = migration.down().map(|down| down.sql().to_owned());
                    (migration.file().to_owned(), migration.up().sql().to_owned(), down)
                });
                each.collect::<Vec<_>>()
            };
            assert_eq!(show(&embedded), show(&loaded), "{dir}");
            assert!(!loaded.is_empty(), "{dir}");
        };
        check(crate::embed!("examples/migrations").expect("loads"), "examples/migrations");
        check(crate::embed!("fixtures/directories").expect("loads"), "fixtures/directories");
        check(crate::embed!("fixtures/up_down").expect("loads"), "fixtures/up_down");
    }

    #[test]
    fn a_directory_without_migrations_is_fine() {
        assert!(crate::embed!("src/source").expect("loads").is_empty());
    }
}
