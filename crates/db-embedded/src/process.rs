//! Other processes by their id: are they alive, are they PostgreSQL, tell them to stop. Starts none but `ps`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// How often a condition is looked at that nothing reports.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Sends a signal; a process that is gone is no error, for that is what signals are sent for here.
pub(crate) fn send(pid: u32, signal: Signal) {
    let Ok(raw) = i32::try_from(pid) else { return };
    if let Err(error) = signal::kill(Pid::from_raw(raw), signal)
        && error != Errno::ESRCH
    {
        tracing::warn!(pid, %signal, %error, "cannot send a signal");
    }
}

/// Whether a process exists and is more than an entry that its parent has not collected.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    let exists = raw > 0 && signal::kill(Pid::from_raw(raw), None) != Err(Errno::ESRCH);
    exists && !is_zombie(pid)
}

/// Linux only; elsewhere `init` collects orphans for certain.
fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may itself hold any character, so the state is what follows the last one.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Whether a process is a PostgreSQL that runs on this data folder (canonical path). In doubt it is, since the answer
/// no leads to a second one being started.
pub(crate) fn serves(pid: u32, data: &Path) -> bool {
    if !is_alive(pid) {
        return false;
    }
    let is_postgres = name(pid).is_none_or(|it| it.contains("postgres") || it.contains("postmaster"));
    // The postmaster makes the data folder its working directory. Other systems than Linux do not show it.
    is_postgres && fs::read_link(format!("/proc/{pid}/cwd")).map_or(true, |cwd| cwd == data)
}

fn name(pid: u32) -> Option<String> {
    if let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) {
        return Some(name);
    }
    let output =
        Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).stdin(Stdio::null()).output();
    String::from_utf8(output.ok()?.stdout).ok().filter(|it| !it.trim().is_empty())
}

/// Waits until a process is gone; false if it is still there after that time.
pub(crate) async fn is_gone_within(pid: u32, patience: Duration) -> bool {
    let start = Instant::now();
    while is_alive(pid) {
        if start.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_living_from_the_dead() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
        assert!(!is_alive(u32::MAX));

        let mut child = Command::new("true").spawn().unwrap();
        let start = Instant::now();
        // Not collected yet, so on Linux it passes through the state of a zombie here.
        while cfg!(target_os = "linux") && is_alive(child.id()) {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }

    #[test]
    fn an_unrelated_process_serves_nothing() {
        assert!(!serves(std::process::id(), Path::new("/")));
    }
}
