//! Chooses the installation for a folder, and downloads one if that is allowed and needed.

use std::path::{Path, PathBuf};

use crate::error::io;
use crate::folder::Folder;
use crate::hint::hint;
use crate::{Error, Installation, Search, Settings, installations};

/// Chooses the installation that a folder needs: that of its major version, else the newest.
pub(crate) async fn choose(folder: &Folder, settings: &Settings) -> Result<Installation, Error> {
    let major = folder.major()?;
    let search = search(folder, settings);
    let tried = search.places();
    let listed = tokio::task::spawn_blocking(move || installations(&search)).await;
    let found = listed.map_err(|error| io("search for", Path::new("postgres"))(error.into()))?;
    match select(&found, major.as_deref()) {
        Some(installation) => Ok(installation.clone()),
        None => missing(folder, settings, major, found, tried).await,
    }
}

fn search(folder: &Folder, settings: &Settings) -> Search {
    let mut search = settings.search.clone();
    // Whatever was downloaded once is found again, by programs that were built without the download too.
    search.folders.push(download_folder(folder, settings).join("*/bin"));
    search
}

fn download_folder(folder: &Folder, settings: &Settings) -> PathBuf {
    settings.download_folder.clone().unwrap_or_else(|| folder.path().join("download"))
}

fn select<'a>(found: &'a [Installation], major: Option<&str>) -> Option<&'a Installation> {
    match major {
        Some(major) => found.iter().find(|it| it.version.major().to_string() == major),
        None => found.first(),
    }
}

/// No local installation fits.
#[cfg_attr(
    not(feature = "download"),
    expect(clippy::unused_async, reason = "downloads with the feature `download`")
)]
async fn missing(
    folder: &Folder,
    settings: &Settings,
    major: Option<String>,
    found: Vec<Installation>,
    tried: Vec<PathBuf>,
) -> Result<Installation, Error> {
    if let Some(major) = major {
        // The download could bring this major too, but a data folder that lost its programs is a case for a person.
        return Err(Error::WrongMajor { folder: folder.data(), major, found });
    }
    #[cfg(feature = "download")]
    {
        crate::download::fetch(&download_folder(folder, settings)).await.map_err(|reason| {
            let url = crate::download::URL.to_owned();
            Error::Download { tried, url, reason, hint: hint() }
        })
    }
    #[cfg(not(feature = "download"))]
    {
        let _ = settings;
        Err(Error::NotInstalled { tried, hint: hint() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    #[test]
    fn an_existing_folder_gets_its_own_major() {
        let of = |text: &str| Installation {
            bin_dir: PathBuf::from("/").join(text),
            version: Version::parse(text).unwrap(),
        };
        let found = [of("17.2"), of("15.18"), of("15.9")];
        let check = |major, expect: Option<&str>| {
            assert_eq!(select(&found, major).map(|it| it.version.as_str()), expect, "{major:?}");
        };
        check(None, Some("17.2"));
        check(Some("15"), Some("15.18"));
        check(Some("16"), None);
        check(Some("1"), None);
        assert_eq!(select(&[], None), None);
    }
}
