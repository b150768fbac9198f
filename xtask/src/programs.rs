//! The programs that some tests need beside PostgreSQL: where one is missing its tests are left out, and `cargo xtask ci` fails.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use db_testkit::Patroni;

/// A program, or several that belong together.
pub(crate) struct Program {
    /// What people call it.
    pub(crate) name: &'static str,
    /// The tests that need it have this in their names.
    pub(crate) tests: &'static str,
    /// The distribution's packages.
    packages: &'static str,
    is_there: fn() -> bool,
}

/// All of them.
pub(crate) const PROGRAMS: [Program; 4] = [
    Program {
        name: "PgBouncer",
        tests: "pgbouncer::",
        packages: "pgbouncer",
        is_there: || is_in_path("pgbouncer"),
    },
    Program {
        name: "Patroni and etcd",
        tests: "patroni::",
        packages: "patroni etcd-server",
        is_there: || Patroni::is_installed(std::env::var_os("PATH")),
    },
    Program {
        name: "promtool",
        tests: "promtool::",
        packages: "prometheus",
        is_there: || is_in_path("promtool"),
    },
    Program {
        name: "Redis",
        tests: "redis::",
        packages: "redis-server",
        is_there: || is_in_path("redis-server"),
    },
];

impl Program {
    pub(crate) fn is_missing(&self) -> bool {
        !(self.is_there)()
    }
}

/// An error for the first that is missing, with what to do.
pub(crate) fn ensure_all() -> Result<()> {
    for program in PROGRAMS {
        let Program { name, packages, .. } = program;
        ensure!(
            !program.is_missing(),
            "{name} is not installed, which tests need: apt-get install {packages}"
        );
    }
    Ok(())
}

/// Whether it is on the PATH, or where Debian keeps programs that are not for everybody.
fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
