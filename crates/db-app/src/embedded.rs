//! A PostgreSQL of our own for a machine where none is given: where its data lives, and how it is started.

use std::path::{Path, PathBuf};

use db_core::ExposeSecret;
use db_embedded::{Search, Server, Settings};
use sha2::{Digest, Sha256};
use tokio_postgres::Config;

use crate::OpenError;

/// The folder for the current directory's server: one for each project, below the user's data folder, or below
/// `/var/lib` for root, whose home the server's own user cannot enter.
pub(crate) fn default_folder() -> PathBuf {
    let project = std::env::current_dir().unwrap_or_default();
    let base = if nix::unistd::geteuid().is_root() { PathBuf::from("/var/lib") } else { data_home() };
    base.join("db").join(folder_name(&project))
}

/// Starts the server in `folder`, or attaches to the one that runs there.
pub(crate) async fn start(folder: &Path) -> Result<(Server, Config), OpenError> {
    let search = Search::with_path(std::env::var_os("PATH"));
    let server = Server::start(Settings::new(folder).search(search)).await?;
    let url = server.url();
    let config = url.expose_secret().parse().map_err(|_| OpenError::Url)?;
    Ok((server, config))
}

/// The last part of the path, for people, and a digest of all of it, so that no two projects share a folder.
fn folder_name(project: &Path) -> String {
    let name = project.file_name().map_or("root".into(), |name| name.to_string_lossy());
    let readable: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let digest = Sha256::digest(project.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{readable}-{digest}")
}

fn data_home() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(std::env::temp_dir)
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
