//! Makes a new database, so that it is there entirely or not at all. Starts no server.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::io;
use crate::folder::{ADDRESS, Folder};
use crate::log::Log;
use crate::supervisor::Supervised;
use crate::user::RunAs;
use crate::{Error, Installation, Settings};

/// Runs `initdb` in a folder beside `data`, then renames it.
///
/// # Cancel safety
/// Dropped midway, it stops `initdb` and leaves an unfinished folder that the next start removes.
pub(crate) async fn data(
    folder: &Folder,
    installation: &Installation,
    run_as: Option<&RunAs>,
    settings: &Settings,
) -> Result<(), Error> {
    let started = std::time::Instant::now();
    let new = folder.begin_data(run_as)?;
    let password_file = folder.renew_password(run_as)?;
    let mut arguments = vec![
        format!("--pgdata={}", new.display()),
        format!("--pwfile={}", password_file.display()),
        format!("--username={}", settings.user),
        "--auth=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        // Present everywhere, and the same order of text everywhere.
        "--locale=C".to_owned(),
    ];
    if settings.waives_durability() {
        arguments.push("--no-sync".to_owned());
    }
    let (file, log) = Log::open(&folder.log())?;
    let initdb = Supervised::spawn(&installation.bin_dir.join("initdb"), &arguments, &[], run_as, file)?;
    let status = initdb.ended().await;
    if !status.success() {
        let folder = folder.path().to_path_buf();
        return Err(Error::Initialise { folder, program: "initdb", status, log: log.relevant() });
    }
    include_address(&new.join("postgresql.conf"))?;
    folder.finish_data(&new)?;
    tracing::info!(folder = %folder.path().display(), elapsed = ?started.elapsed(), "made a new database");
    Ok(())
}

/// Has a server that somebody stops and starts by hand listen where it did before, so that its clients find it again.
fn include_address(configuration: &Path) -> Result<(), Error> {
    let append = || {
        let mut file = File::options().append(true).open(configuration)?;
        writeln!(
            file,
            "\n# Written by each start of the program that owns this folder.\ninclude_if_exists = '{ADDRESS}'"
        )
    };
    append().map_err(io("write", configuration))
}

/// Makes a database in a data folder on which nothing runs, if it does not exist, by PostgreSQL in single-user mode:
/// that needs no connection, and so no driver.
///
/// # Cancel safety
/// Dropped midway, it kills PostgreSQL, which recovers at the next start as from a crash.
pub(crate) async fn database(
    folder: &Folder,
    installation: &Installation,
    run_as: Option<&RunAs>,
    database: &str,
) -> Result<(), Error> {
    let program = installation.bin_dir.join("postgres");
    let mut command = Command::new(&program);
    command.args(["--single", "-c", "exit_on_error=on", "-c", "log_destination=stderr"]);
    command
        .args(["-c", "logging_collector=off", "-c", "lc_messages=C", "-D"])
        .arg(folder.data())
        .arg("postgres");
    command.env("LC_ALL", "C").current_dir("/").process_group(0).kill_on_drop(true);
    if let Some(user) = run_as {
        command.uid(user.uid).gid(user.gid);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io("run", &program))?;
    if let Some(mut input) = child.stdin.take() {
        // It may have ended already; its status then tells more than the broken pipe.
        let _ = input.write_all(format!("CREATE DATABASE \"{database}\"\n").as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(io("run", &program))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || text.contains(&format!("database \"{database}\" already exists")) {
        return Ok(());
    }
    Err(Error::Initialise {
        folder: folder.path().to_path_buf(),
        program: "postgres --single",
        status: output.status,
        log: append(&folder.log(), &text)?.relevant(),
    })
}

fn append(path: &Path, text: &str) -> Result<Log, Error> {
    let (mut file, log) = Log::open(path)?;
    file.write_all(text.as_bytes()).map_err(io("write", path))?;
    Ok(log)
}
