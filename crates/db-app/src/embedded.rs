//! A PostgreSQL of our own for a machine where none is given: where its data lives, and how it is kept running.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use db_core::ExposeSecret;
use db_embedded::{Search, Server, Settings};
use db_pool::Target;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::{OpenError, StopError};

/// The folder for the current directory's server: one for each project, below the user's data folder, or below
/// `/var/lib` for root, whose home the server's own user cannot enter. `None` without a home folder.
pub(crate) fn default_folder() -> Option<PathBuf> {
    let project = std::env::current_dir().unwrap_or_default();
    let base = if nix::unistd::geteuid().is_root() { PathBuf::from("/var/lib") } else { data_home()? };
    Some(base.join("db").join(folder_name(&project)))
}

/// A server of our own that is started again when it crashes.
pub(crate) struct Kept {
    server: Arc<Mutex<Option<Server>>>,
    keeper: AbortOnDropHandle<()>,
    /// Becomes true when the server, which is another program's, has ended; none when it is ours.
    has_left: Option<watch::Receiver<bool>>,
    pub(crate) origin: String,
    pub(crate) target: Target,
}

impl Kept {
    /// Starts the server in `folder`, or attaches to the one that runs there.
    pub(crate) async fn start(folder: &Path) -> Result<Self, OpenError> {
        let search = Search::with_path(std::env::var_os("PATH"));
        let server = Server::start(Settings::new(folder).search(search)).await?;
        let target = server.url().expose_secret().parse().map_err(|_| OpenError::Url)?;
        let origin = describe(&server);
        let (leaving, has_left) = watch::channel(false);
        let has_left = server.is_attached().then_some(has_left);
        let server = Arc::new(Mutex::new(Some(server)));
        let keeper = AbortOnDropHandle::new(tokio::spawn(keep(Arc::clone(&server), leaving)));
        Ok(Self { server, keeper, has_left, origin, target })
    }

    /// Whether the server is run by this process.
    pub(crate) fn is_ours(&self) -> bool {
        self.has_left.is_none()
    }

    /// Whether the server was another program's and has ended, or does so within `limit`.
    pub(crate) async fn has_left(&self, limit: Duration) -> bool {
        let Some(mut has_left) = self.has_left.clone() else { return false };
        let left = has_left.wait_for(|has_left| *has_left);
        timeout(limit, left).await.is_ok_and(|left| left.is_ok())
    }

    /// Stops the server if it is ours, and waits until it is gone.
    pub(crate) async fn stop(&self, deadline: Instant) -> Result<(), StopError> {
        self.keeper.abort();
        let stop = async {
            match self.server.lock().await.take() {
                Some(server) => Ok(server.stop().await?),
                None => Ok(()),
            }
        };
        // Dropping the future of `stop` still ends the server, in the background.
        timeout_at(deadline, stop).await.unwrap_or(Err(StopError::TimedOut))
    }
}

/// Starts the server again whenever it crashes, until the slot is empty.
async fn keep(slot: Arc<Mutex<Option<Server>>>, leaving: watch::Sender<bool>) {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);
    loop {
        let (exited, is_attached) = match &*slot.lock().await {
            Some(server) => (server.exited(), server.is_attached()),
            None => return,
        };
        let exit = exited.await;
        if is_attached {
            leaving.send_replace(true);
            tracing::error!(target: "db", "the PostgreSQL of another program ended, which alone can start it again");
            return;
        }
        if exit.status.is_some_and(|status| status.success()) {
            tracing::error!(target: "db", "somebody stopped the PostgreSQL; it is left to them to start it again");
            return;
        }
        tracing::error!(target: "db", %exit, "the PostgreSQL crashed, starting it again");
        let mut pause = SHORTEST;
        loop {
            sleep(pause).await;
            let mut slot = slot.lock().await;
            let Some(server) = &mut *slot else { return };
            match server.resume().await {
                Ok(()) => break,
                Err(error) => tracing::error!(target: "db", %error, "the PostgreSQL did not start"),
            }
            pause = LONGEST.min(pause * 2);
        }
        tracing::info!(target: "db", "the PostgreSQL runs again");
    }
}

fn describe(server: &Server) -> String {
    let how = if server.is_attached() { "already running" } else { "started by us" };
    format!(
        "PostgreSQL {} from {}, {how} on {}:{}, data in {}",
        server.installation().version,
        server.installation().bin_dir.display(),
        server.host(),
        server.port(),
        server.folder().display(),
    )
}

/// The last part of the path, for people, and a digest of all of it, so that no two projects share a folder.
fn folder_name(project: &Path) -> String {
    let name = project.file_name().map_or("root".into(), |name| name.to_string_lossy());
    let readable: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let digest = Sha256::digest(project.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{readable}-{digest}")
}

fn data_home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_a_folder_of_its_own() {
        let check = |path: &str, expect: &str| assert_eq!(folder_name(Path::new(path)), expect);
        check("/home/ann/shop", "shop-6fec8fd0");
        check("/home/bob/shop", "shop-0716d0e6");
        check("/srv/o'brien's", "obriens-a3b66cb9");
        check("/", "root-8a5edab2");
    }
}
