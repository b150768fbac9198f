//! Where the servers of tests come from, and the ladder that finds the first that works.

use std::ffi::OsString;
use std::fmt;

use db_embedded::Search;

use crate::Error;

/// Where servers come from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Backend {
    /// A server that runs already, by the URL of a role that may create databases. It is never stopped.
    Url(String),
    /// Containers of this image, as `name:tag`.
    #[cfg(feature = "docker")]
    Docker(String),
    /// Binaries on this machine, run as child processes.
    Local(Search),
}

impl Backend {
    /// Binaries on this machine, looked for in `path` (the value of `PATH`) and the known folders.
    #[must_use]
    pub fn local(path: Option<OsString>) -> Self {
        Self::Local(Search::with_path(path))
    }

    /// Binaries of one major version, if the machine has them.
    #[must_use]
    pub fn local_major(search: &Search, major: u32) -> Option<Self> {
        let mut found = db_embedded::installations(search).into_iter();
        let installation = found.find(|installation| installation.version.major() == major)?;
        Some(Self::Local(Search { path: None, folders: vec![installation.bin_dir] }))
    }

    /// Containers of `image`, if the engine has it. It is not fetched: that can take minutes, and fails without a network.
    ///
    /// # Errors
    /// [`Error::Docker`] when the engine does not run or lacks the image.
    #[cfg(feature = "docker")]
    pub fn docker(image: &str) -> Result<Self, Error> {
        if crate::docker::has_image(image) {
            return Ok(Self::Docker(image.to_owned()));
        }
        Err(Error::Docker(format!("it does not run, or has no image {image}")))
    }

    /// The first rung that holds: the URL if one is given, containers if the engine has the image, local binaries.
    ///
    /// # Errors
    /// [`Error::Nothing`] with what was tried and what helps.
    pub fn find(url: Option<String>, image: &str, path: Option<OsString>) -> Result<Self, Error> {
        if let Some(url) = url {
            return Ok(Self::Url(url));
        }
        #[cfg(feature = "docker")]
        if crate::docker::has_image(image) {
            return Ok(Self::Docker(image.to_owned()));
        }
        let search = Search::with_path(path);
        if !db_embedded::installations(&search).is_empty() {
            return Ok(Self::Local(search));
        }
        let places: Vec<_> = search.folders.iter().map(|folder| folder.display().to_string()).collect();
        Err(Error::Nothing(format!(
            "no URL is given; docker does not run or lacks the image {image}; no binaries in PATH or {}. \
             Install PostgreSQL from your distribution, or run `docker pull postgres:15-alpine` and name that image",
            places.join(", ")
        )))
    }

    /// Removes the containers of clusters whose processes were killed before they could. Starting a cluster does it too.
    pub fn remove_left_overs(&self) {
        #[cfg(feature = "docker")]
        if matches!(self, Self::Docker(_)) {
            crate::docker::remove_left_overs();
        }
    }

    /// Whether servers can be started, stopped and thrown away.
    #[must_use]
    pub fn can_start_servers(&self) -> bool {
        !matches!(self, Self::Url(_))
    }
}

/// Without the URL, which holds a password.
impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url(..)"),
            #[cfg(feature = "docker")]
            Self::Docker(image) => write!(f, "Docker({image:?})"),
            Self::Local(search) => write!(f, "Local({search:?})"),
        }
    }
}
