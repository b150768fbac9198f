//! The network of one cluster, with everything in it, by the program `docker`: testcontainers gives no container an address of
//! its own choice. Knows nothing of PostgreSQL.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Instant;

use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use super::{POLL, READY};
use crate::Error;

/// A network that nobody else uses. When the last who holds it lets go, it is removed with all containers that have its label.
#[derive(Debug)]
pub(crate) struct Network {
    /// Held as long as the process lives. Its path is the label.
    lock: NamedTempFile,
    name: String,
    /// The first address, which names the network.
    subnet: Ipv4Addr,
}

/// What the label is called. Its value is the path of a file that is locked while somebody uses what is labelled.
const LABEL: &str = "db-test.lock";

/// How often somebody else may take the addresses that were found free.
const ATTEMPTS: u32 = 8;

impl Network {
    /// Makes a network, and removes what killed processes left behind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub(crate) async fn create() -> Result<Arc<Self>, Error> {
        let made = spawn_blocking(|| {
            remove_left_overs();
            // Networks and stopped containers outlive a restart of the machine, and so must what tells that they are ours.
            let lock = tempfile::Builder::new().prefix("db-test-").suffix(".lock").tempfile_in("/var/tmp")?;
            lock.as_file().lock()?;
            let name = lock.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut this = Self { lock, name, subnet: Ipv4Addr::UNSPECIFIED };
            this.subnet = this.claim()?;
            Ok(Arc::new(this))
        });
        made.await.map_err(|error| Error::Docker(error.to_string()))?
    }

    /// Takes a range of addresses that is free. Fixed addresses need a range that was asked for, and only the engine knows which
    /// ones this machine does not use: it is asked to choose one, and then for the one that it chose.
    fn claim(&self) -> Result<Ipv4Addr, Error> {
        let label = self.label();
        let create = ["network", "create", "--label", &label];
        let claim = || {
            run(create.iter().copied().chain([&*self.name]))?;
            let asked = "{{(index .IPAM.Config 0).Subnet}}";
            let subnet = run(["network", "inspect", "--format", asked, &self.name])?;
            run(["network", "rm", &self.name])?;
            run(create.iter().copied().chain(["--subnet", &subnet, &self.name]))?;
            first_address(&subnet)
        };
        let mut attempt = 1;
        loop {
            match claim() {
                Err(_) if attempt < ATTEMPTS => {
                    // Another cluster was faster, or has the last one that was free; those of tests are soon free again.
                    sleep(POLL * 2_u32.pow(attempt));
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a container has to have, to be removed with the network.
    pub(crate) fn label(&self) -> String {
        format!("{LABEL}={}", self.lock.path().display())
    }

    /// The address of a member by its number. The first one of a network is its gateway's.
    pub(crate) fn address(&self, member: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.to_bits() + 2 + member)
    }

    /// Runs `docker` with these arguments and gives what it printed.
    ///
    /// # Cancel safety
    /// Dropped midway, the command goes on, and the network is removed after it at the earliest: what it makes does not stay.
    pub(crate) async fn docker<'a>(
        self: &Arc<Self>,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, Error> {
        let network = Arc::clone(self);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let done = spawn_blocking(move || {
            let result = run(arguments.iter().map(String::as_str));
            drop(network);
            result
        });
        done.await.map_err(|error| Error::Docker(error.to_string()))?
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if remove(&self.label()).is_err() {
            // The file tells the next run that there is something to remove.
            self.lock.disable_cleanup(true);
        }
    }
}

/// Removes networks and their containers whose processes were killed before they could. Who still lives holds the lock; where the
/// file is not to be found, whoever made it may live on another machine.
pub(crate) fn remove_left_overs() {
    let format = format!("{{{{.Label \"{LABEL}\"}}}}");
    let filter = format!("label={LABEL}");
    let Ok(listed) = run(["network", "ls", "--filter", &filter, "--format", &format]) else { return };
    for path in listed.lines().map(Path::new).collect::<BTreeSet<_>>() {
        let Ok(lock) = File::open(path) else { continue };
        if lock.try_lock().is_ok() && remove(&format!("{LABEL}={}", path.display())).is_ok() {
            std::fs::remove_file(path).ok();
        }
    }
}

/// Removes what has this label. The engine may still be about what a killed process told it, which is waited for.
fn remove(label: &str) -> Result<(), Error> {
    let give_up = Instant::now() + READY;
    loop {
        match remove_now(label) {
            Err(_) if Instant::now() < give_up => sleep(POLL),
            done => return done,
        }
    }
}

/// Removes the containers with this label, with their volumes, and then the networks.
fn remove_now(label: &str) -> Result<(), Error> {
    let filter = format!("label={label}");
    let containers = run(["ps", "--all", "--quiet", "--filter", &filter])?;
    if !containers.is_empty() {
        run(["rm", "--force", "--volumes"].into_iter().chain(containers.lines()))?;
    }
    let networks = run(["network", "ls", "--quiet", "--filter", &filter])?;
    if !networks.is_empty() {
        run(["network", "rm"].into_iter().chain(networks.lines()))?;
    }
    Ok(())
}

/// Runs `docker` to its end, on this thread.
fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String, Error> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::Docker(error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Docker(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn first_address(subnet: &str) -> Result<Ipv4Addr, Error> {
    let address = subnet.split('/').next().and_then(|address| address.parse().ok());
    address.ok_or_else(|| Error::Docker(format!("the addresses {subnet} are not of IPv4")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_a_network() {
        assert_eq!(first_address("172.18.0.0/16").expect("valid"), Ipv4Addr::new(172, 18, 0, 0));
        let error = first_address("fd00::/64").expect_err("too new").to_string();
        assert_eq!(error, "docker: the addresses fd00::/64 are not of IPv4");
    }
}
