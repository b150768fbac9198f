//! The user that PostgreSQL runs as when we are root, and what that user can reach. Changes no user of the system.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use crate::Error;
use crate::error::io;

/// An unprivileged user.
#[derive(Clone, Debug)]
pub(crate) struct RunAs {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    name: String,
}

impl RunAs {
    /// Chooses the user for a data folder: its owner, else `postgres`, else `nobody`. `None` when we are not root, and
    /// everything runs as ourselves.
    pub(crate) fn choose(data: &Path) -> Result<Option<Self>, Error> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        if let Ok(owner) = fs::metadata(data)
            && owner.uid() != 0
        {
            let name = User::from_uid(Uid::from_raw(owner.uid())).ok().flatten().map(|it| it.name);
            let name = name.unwrap_or_else(|| owner.uid().to_string());
            return Ok(Some(Self { uid: owner.uid(), gid: owner.gid(), name }));
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or(Error::NoUser)?;
        Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name }))
    }

    /// Makes this user the owner.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(io("give away", path))
    }

    /// Makes sure that this user can enter a folder.
    pub(crate) fn check_reach(&self, folder: &Path) -> Result<(), Error> {
        // Asking the system takes access lists and the like into account, which the mode alone does not tell.
        let mut enter = Command::new("/bin/sh");
        enter.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/").uid(self.uid).gid(self.gid);
        let status =
            enter.stdin(Stdio::null()).stderr(Stdio::null()).status().map_err(io("enter", folder))?;
        if status.success() {
            return Ok(());
        }
        let outermost_first: Vec<&Path> = folder.ancestors().collect::<Vec<_>>().into_iter().rev().collect();
        let blocks = |path: &&&Path| {
            fs::metadata(path)
                .is_ok_and(|it| !may_enter(it.mode(), it.uid() == self.uid, it.gid() == self.gid))
        };
        let blocked_by: PathBuf =
            outermost_first.iter().find(blocks).copied().unwrap_or(folder).to_path_buf();
        Err(Error::Unreachable { user: self.name.clone(), folder: folder.to_path_buf(), blocked_by })
    }
}

/// Whether the mode of a folder lets someone in. Only the first class that applies counts.
fn may_enter(mode: u32, is_owner: bool, is_in_group: bool) -> bool {
    let bit = match (is_owner, is_in_group) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_applies_counts() {
        assert!(may_enter(0o700, true, false));
        assert!(may_enter(0o710, false, true));
        assert!(may_enter(0o701, false, false));
        assert!(!may_enter(0o700, false, true));
        assert!(!may_enter(0o011, true, true));
        assert!(!may_enter(0o701, false, true));
    }
}
