//! Makes the database of a standby: a copy of a running server, told to follow it. Starts no server.

use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};

use crate::folder::Folder;
use crate::log::Log;
use crate::settings::check_name;
use crate::supervisor::Supervised;
use crate::user::RunAs;
use crate::{Error, Installation, Server};

/// The server that a standby follows, and what the standby is called there.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    host: String,
    port: u16,
    url: SecretString,
    pub(crate) password: SecretString,
    name: String,
    pub(crate) user: String,
    pub(crate) database: String,
    /// A copy is of the same major version.
    pub(crate) installation: Installation,
}

impl Leader {
    pub(crate) fn new(server: &Server, name: String) -> Self {
        Self {
            host: server.host().to_owned(),
            port: server.port(),
            url: server.url(),
            password: server.password().clone(),
            name,
            user: server.user().to_owned(),
            database: server.database().to_owned(),
            installation: server.installation().clone(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("name of the standby", &self.name)
    }

    /// What the copied configuration is replaced by: what the leader was told to do is not for its standby.
    ///
    /// No value needs an escape: names are checked, and the password is letters and digits.
    fn configuration(&self) -> String {
        let query = format!("application_name={}&{UNENCRYPTED}", self.name);
        format!("primary_conninfo = '{}?{query}'", self.url.expose_secret())
    }
}

/// On this machine only; the environment, which libpq reads, may ask for more.
const UNENCRYPTED: &str = "sslmode=disable&gssencmode=disable";

/// Runs `pg_basebackup` into a folder beside `data`, which it then replaces.
///
/// # Cancel safety
/// Dropped midway, it stops `pg_basebackup` and leaves an unfinished folder that the next start removes.
pub(crate) async fn copy(
    folder: &Folder,
    run_as: Option<&RunAs>,
    leader: &Leader,
    must_last: bool,
) -> Result<(), Error> {
    let started = Instant::now();
    let new = folder.begin_data(run_as)?;
    let mut arguments = vec![
        format!("--pgdata={}", new.display()),
        format!("--host={}", leader.host),
        format!("--port={}", leader.port),
        format!("--username={}", leader.user),
        "--no-password".to_owned(),
        "--wal-method=stream".to_owned(),
        "--checkpoint=fast".to_owned(),
    ];
    if !must_last {
        arguments.push("--no-sync".to_owned());
    }
    let environment = [
        // Not an argument: everybody can read those.
        ("PGPASSWORD", leader.password.expose_secret().to_owned()),
        ("PGSSLMODE", "disable".to_owned()),
        ("PGGSSENCMODE", "disable".to_owned()),
    ];
    let (file, log) = Log::open(&folder.log())?;
    let program = leader.installation.bin_dir.join("pg_basebackup");
    let status = Supervised::spawn(&program, &arguments, &environment, run_as, file)?.ended().await;
    if !status.success() {
        let folder = folder.path().to_path_buf();
        return Err(Error::Initialise { folder, program: "pg_basebackup", status, log: log.relevant() });
    }
    folder.replace(&new.join("postgresql.auto.conf"), &leader.configuration(), run_as)?;
    folder.replace(&new.join("standby.signal"), "", run_as)?;
    // Roles are copied with everything else.
    folder.keep_password(&leader.password, run_as)?;
    folder.remove_data()?;
    folder.finish_data(&new)?;
    tracing::info!(folder = %folder.path().display(), elapsed = ?started.elapsed(), "copied a database");
    Ok(())
}
