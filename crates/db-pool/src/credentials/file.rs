//! Passwords from a file, as orchestrators mount secrets. It is looked at for each physical connect and read when it changed,
//! so that a new password needs no restart.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use db_core::{Cause, CredentialProvider, Result, SecretString};
use tokio::io::AsyncReadExt;

use super::{LONGEST, Reason, error, password};

/// The password that a file holds, without a newline at its end.
///
/// It is read again when its length or its time of modification changed, and after the server refused what it held.
pub struct FilePassword {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

/// What was read, and when the file was last written then.
struct Read {
    stamp: Stamp,
    password: SecretString,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl FilePassword {
    /// The password in the file at `path`, which is not looked at yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    async fn look(&self) -> Result<SecretString, Reason> {
        let file = tokio::fs::File::open(&self.path).await.map_err(|reason| self.cannot_read(&reason))?;
        // Of the file that is open: the path may lead to another one by now. Taken before it is read, so that a change
        // between the two is noticed the next time.
        let about = file.metadata().await.map_err(|reason| self.cannot_read(&reason))?;
        let stamp = Stamp { length: about.len(), modified: about.modified().ok() };
        if let Some(read) = &*self.read()
            && read.stamp == stamp
        {
            return Ok(read.password.clone());
        }
        let mut bytes = Vec::new();
        // More than the longest, so that what is too long is noticed.
        let limit = LONGEST as u64 + 3;
        file.take(limit).read_to_end(&mut bytes).await.map_err(|reason| self.cannot_read(&reason))?;
        let password = password(bytes, format_args!("file {}", self.path.display()))?;
        *self.read() = Some(Read { stamp, password: password.clone() });
        Ok(password)
    }

    fn cannot_read(&self, reason: &std::io::Error) -> Reason {
        format!("cannot read the password file {}: {reason}", self.path.display())
    }

    fn read(&self) -> MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CredentialProvider for FilePassword {
    /// # Errors
    /// When the file cannot be read, is empty, longer than 64 KiB or not UTF-8; the text names it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    async fn password(&self) -> Result<Option<SecretString>> {
        // A file that was good once is being replaced; one that never was is a wrong setting.
        let cause = if self.read().is_some() { Cause::Unreachable } else { Cause::Misuse };
        self.look().await.map(Some).map_err(|reason| error(cause, reason))
    }

    fn refused(&self) {
        if let Some(read) = &mut *self.read() {
            // No file is as long: it is read again, and still known to have been good.
            read.stamp = Stamp { length: u64::MAX, modified: None };
        }
    }
}

/// Without the password.
impl fmt::Debug for FilePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePassword").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
