//! Signals to all processes of a local server. Each is in a session of its own, so that no process group holds them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;

/// Signals the postmaster, and then its children: one that is stopped first has no further ones.
pub(crate) fn signal_all(postmaster: Option<u32>, signal: Signal) -> Result<(), Error> {
    let Some(postmaster) = postmaster.and_then(|id| i32::try_from(id).ok()) else {
        return Err(Error::Signal("it does not run".to_owned()));
    };
    send(postmaster, signal)?;
    for child in children(postmaster)? {
        send(child, signal)?;
    }
    Ok(())
}

/// Ends local servers as a crash does, whether they stand still or not, and waits until they are gone, or until it has taken
/// too long. Blocks the thread, for who drops a server.
pub(crate) fn end_at_once(postmasters: &[u32]) {
    let ids: Vec<i32> = postmasters.iter().filter_map(|id| i32::try_from(*id).ok()).collect();
    for postmaster in &ids {
        // It waits for a process that stands still; who wakes up first finds that it is to end.
        send(*postmaster, Signal::SIGQUIT).ok();
        signal_all(u32::try_from(*postmaster).ok(), Signal::SIGCONT).ok();
    }
    let start = Instant::now();
    let is_there = |id: &i32| kill(Pid::from_raw(*id), None).is_ok();
    while ids.iter().any(is_there) && start.elapsed() < END {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long servers may take to end at once. PostgreSQL kills after 5 s what has not ended.
const END: Duration = Duration::from_secs(6);

fn send(process: i32, signal: Signal) -> Result<(), Error> {
    match kill(Pid::from_raw(process), signal) {
        // It has ended meanwhile.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(Error::Signal(format!("{signal} to {process}: {error}"))),
    }
}

fn children(parent: i32) -> Result<Vec<i32>, Error> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).stdin(Stdio::null()).output();
    let listed = listed.map_err(|error| Error::Signal(format!("ps: {error}")))?;
    Ok(children_in(&String::from_utf8_lossy(&listed.stdout), parent))
}

fn children_in(listed: &str, parent: i32) -> Vec<i32> {
    let pairs = listed.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<i32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    pairs.filter(|(_, its_parent)| *its_parent == parent).map(|(child, _)| child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_children_of_a_process() {
        let listed = "    1     0\n   70     1\n   71    70\n  172    70\n 7000   170\nnonsense\n";
        assert_eq!(children_in(listed, 70), [71, 172]);
        assert!(children_in("", 70).is_empty());
    }
}
