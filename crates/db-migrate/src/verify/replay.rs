//! Migrations carried out in a scratch database, which has only what they create. No history is kept there, and no lock is
//! needed. What the states in between are compared with is not known here.

use db_core::Query as _;
use tokio_postgres::Client;

use crate::catalogue::{Catalogue, Snapshot};
use crate::session::SessionState;
use crate::{Connect, Direction, Error, Migration, Result, Settings, bare};

/// A session in the scratch database that looks like the one of the real database.
pub(crate) struct Replay<'a> {
    scratch: Client,
    session: SessionState,
    settings: &'a Settings,
}

impl<'a> Replay<'a> {
    pub(crate) async fn begin(
        client: &Client,
        connect: &impl Connect,
        database: &str,
        settings: &'a Settings,
    ) -> Result<Replay<'a>> {
        let failed = || Error::doing(format!("prepare the scratch database {database}"));
        // The database may have a search_path of its own, which a new one has not.
        let search_path: String = client
            .one("SELECT pg_catalog.current_setting('search_path')", &[])
            .await
            .map_err(Error::doing("read the session's settings"))?;
        let scratch = connect.connect(database).await.map_err(failed())?;
        let set = "SELECT pg_catalog.set_config('search_path', $1, false)";
        scratch.one::<String>(set, &[&search_path]).await.map_err(failed())?;
        let session = SessionState::capture(&scratch).await.map_err(failed())?;
        Ok(Self { scratch, session, settings })
    }

    /// Runs one file of a migration and commits it. Without a down file there is nothing to do on the way down.
    pub(crate) async fn run(&self, migration: &Migration, direction: Direction) -> Result<()> {
        let (file, script) = match direction {
            Direction::Up => (migration.file(), Some(migration.up())),
            Direction::Down => (migration.down_file(), migration.down()),
        };
        let Some(script) = script else { return Ok(()) };
        let ran = bare::run(&self.scratch, &self.session, script, self.settings).await;
        ran.map_err(|failure| match failure.in_file(file, migration.version(), direction, &[]) {
            Error::Failed { file, version, direction, line, source, .. } => {
                Error::Failed { file, version, direction, line, hint: Some(HINT.to_owned()), source }
            }
            error => error,
        })
    }

    /// What is there now.
    pub(crate) async fn catalogue(&self) -> Result<Catalogue> {
        let failed = || Error::doing("read the catalogue of the replay");
        let snapshot = Snapshot::begin(&self.scratch).await.map_err(failed())?;
        let catalogue = snapshot.catalogue(&self.settings.table).await.map_err(failed())?;
        snapshot.end().await.map_err(failed())?;
        Ok(catalogue)
    }
}

const HINT: &str = "it was replayed in an empty scratch database, which has only what migrations create";
