//! The folder of a server: what is where, who may read it, who owns it. Says nothing of what runs in it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::error::io;
use crate::user::RunAs;

/// Start of the name of a data folder in the making.
const UNFINISHED: &str = "data.new.";

/// Name of the file that holds the address of the server.
pub(crate) const ADDRESS: &str = "address.conf";

/// An existing folder, by its canonical path.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder and makes it if it does not exist, for its user alone.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(io("create", parent))?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => {
                    if let Some(user) = RunAs::choose(&path.join("data"))? {
                        user.own(path)?;
                    }
                }
                // Somebody else who starts at the same moment was faster.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io("create", path)(error)),
            }
        }
        Ok(Self { path: fs::canonicalize(path).map_err(io("find", path))? })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The address of the server as a piece of configuration, beside `postgresql.conf`, which includes it.
    pub(crate) fn address(&self) -> PathBuf {
        self.data().join(ADDRESS)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    /// Takes the lock of the owner, if it is free. It is held as long as the file is open.
    pub(crate) fn try_lock(&self) -> Result<Option<File>, Error> {
        let path = self.path.join("lock");
        let mut options = File::options();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
        }
    }

    /// The content of `PG_VERSION`; `None` if there is no database yet.
    pub(crate) fn major(&self) -> Result<Option<String>, Error> {
        let data = self.data();
        match fs::read_to_string(data.join("PG_VERSION")) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) if !data.exists() => Ok(None),
            // Empty is what a mount point or a hasty mkdir looks like; removing it loses nothing.
            Err(_) if fs::remove_dir(&data).is_ok() => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NotData { folder: data })
            }
            Err(error) => Err(io("read", &data.join("PG_VERSION"))(error)),
        }
    }

    pub(crate) fn password(&self) -> Result<SecretString, Error> {
        let path = self.password_file();
        fs::read_to_string(&path).map(|text| SecretString::from(text.trim())).map_err(io("read", &path))
    }

    /// Makes a new password for a database that is about to be made; returns the file that holds it.
    pub(crate) fn renew_password(&self, owner: Option<&RunAs>) -> Result<PathBuf, Error> {
        let password = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), 40));
        let path = self.password_file();
        self.replace(&path, password.expose_secret(), owner)?;
        Ok(path)
    }

    /// Keeps the password of a database that was copied.
    pub(crate) fn keep_password(&self, password: &SecretString, owner: Option<&RunAs>) -> Result<(), Error> {
        self.replace(&self.password_file(), password.expose_secret(), owner)
    }

    /// Writes a small file, mode 0600, so that readers see the old content or the new one.
    pub(crate) fn replace(&self, path: &Path, text: &str, owner: Option<&RunAs>) -> Result<(), Error> {
        let new = path.with_extension("new");
        // Removed first, because the mode only applies to a file that is created.
        let _ = fs::remove_file(&new);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(io("create", &new))?;
        writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(io("write", &new))?;
        if let Some(user) = owner {
            user.own(&new)?;
        }
        fs::rename(&new, path).map_err(io("replace", path))
    }

    /// Makes an empty folder for a database in the making. Its name is used once: an `initdb` of an owner that was
    /// killed may still be writing to the one before.
    pub(crate) fn begin_data(&self, owner: Option<&RunAs>) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("{UNFINISHED}{}", Alphanumeric.sample_string(&mut rand::rng(), 8)));
        DirBuilder::new().mode(0o700).create(&path).map_err(io("create", &path))?;
        if let Some(user) = owner {
            user.own(&path)?;
        }
        Ok(path)
    }

    /// Throws the database away, if there is one.
    pub(crate) fn remove_data(&self) -> Result<(), Error> {
        let data = self.data();
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &data)(error)),
            _ => Ok(()),
        }
    }

    /// Puts a finished database in its place.
    pub(crate) fn finish_data(&self, new: &Path) -> Result<(), Error> {
        fs::rename(new, self.data()).map_err(io("rename", new))?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(io("sync", &self.path))
    }

    /// Removes what interrupted starts have left.
    pub(crate) fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                // The next start tries again; it is in nobody's way.
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unfinished data folder");
            }
        }
    }
}
