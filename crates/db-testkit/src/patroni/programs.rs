//! The programs of Patroni on this machine, the user that they run as, and ports that they can listen on. Installs nothing.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use db_embedded::Search;
use nix::unistd::Uid;
use rand::RngExt;

use crate::Error;

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) patroni: PathBuf,
    pub(super) control: PathBuf,
    pub(super) etcd: PathBuf,
    /// The folder of the newest PostgreSQL.
    pub(super) postgres: PathBuf,
}

/// What helps where they are not.
const HELP: &str = "apt-get install --no-install-recommends patroni etcd-server";

impl Programs {
    pub(super) fn find(search: &Search) -> Result<Self, Error> {
        let find = |name: &str| {
            find(search, name).ok_or_else(|| Error::Patroni(format!("{name} is not installed: {HELP}")))
        };
        let installed = db_embedded::installations(search);
        let newest = installed.into_iter().next();
        let newest = newest.ok_or_else(|| Error::Nothing("no binaries on this machine".to_owned()))?;
        Ok(Self {
            patroni: find("patroni")?,
            control: find("patronictl")?,
            etcd: find("etcd")?,
            postgres: newest.bin_dir,
        })
    }
}

fn find(search: &Search, name: &str) -> Option<PathBuf> {
    let path = search.path.iter().flat_map(std::env::split_paths);
    let folders = path.chain(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Somebody other than root, as whom PostgreSQL does not run.
#[derive(Debug)]
pub(super) struct User(nix::unistd::User);

impl User {
    /// `None` when we are not root, and everything runs as ourselves.
    pub(super) fn choose() -> Result<Option<Self>, Error> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let known = |name: &&str| nix::unistd::User::from_name(name).ok().flatten();
        let user = ["postgres", "nobody"].iter().find_map(known);
        let user = user.ok_or_else(|| Error::Patroni("no user but root to run it as".to_owned()))?;
        Ok(Some(Self(user)))
    }

    /// Makes this user the owner.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        Ok(chown(path, Some(self.0.uid.as_raw()), Some(self.0.gid.as_raw()))?)
    }
}

/// Has a program run as `user`, with nothing of our environment: variables of Patroni, PostgreSQL and Python would change what its
/// file says.
pub(super) fn prepare(command: &mut Command, user: Option<&User>) {
    command.env_clear().current_dir("/");
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", "/");
    if let Some(User(user)) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
}

/// Ports that nobody listens on, all of them different. Not from the range that the system gives to clients: one that looks for a
/// killed server all the time would be given its port sooner or later.
pub(super) fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT], Error> {
    const TRIES: usize = 1000;

    let mut random = rand::rng();
    let any = std::iter::repeat_with(|| random.random_range(20_000..32_000)).take(TRIES);
    // Held until all are found.
    let held = any.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(COUNT);
    let held: Vec<_> = held.collect();
    let ports: Vec<u16> =
        held.iter().map(|it| Ok(it.local_addr()?.port())).collect::<Result<_, std::io::Error>>()?;
    ports.try_into().map_err(|_| Error::Patroni("no free ports between 20000 and 32000".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_all_different() {
        let mut ports = free_ports::<8>().expect("ports");
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] < pair[1]), "{ports:?}");
    }
}
