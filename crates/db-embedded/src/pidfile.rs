//! Reads `postmaster.pid`, in which PostgreSQL says who runs on a data folder and how far it is. Never writes it.

use std::fs;
use std::path::Path;

/// The content of `postmaster.pid`. Lines that are not yet written are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: u32,
    /// Start time in seconds of the epoch; with the process id it tells one run from another.
    pub(crate) started: Option<u64>,
    pub(crate) port: Option<u16>,
    pub(crate) is_ready: bool,
}

impl PidFile {
    /// Reads the file of a data folder; `None` if it is not there or not yet written.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number - 1).copied();
        // A single-user PostgreSQL writes its process id as a negative number.
        let pid = line(1)?.parse::<i32>().ok()?.unsigned_abs();
        Some(Self {
            pid,
            started: line(3).and_then(|it| it.parse().ok()),
            port: line(4).and_then(|it| it.parse().ok()),
            is_ready: line(8) == Some("ready"),
        })
    }

    /// Whether both are of the same run of the same process.
    pub(crate) fn is_same_run(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_stage_of_the_file() {
        fn check(text: &str, expect: Option<(u32, Option<u64>, Option<u16>, bool)>) {
            let found = PidFile::parse(text).map(|it| (it.pid, it.started, it.port, it.is_ready));
            assert_eq!(found, expect, "{text:?}");
        }
        let head = "13381\n/tmp/d\n1795201697\n5999\n\n";
        let all = (13381, Some(1_795_201_697), Some(5999));
        check("", None);
        check("13381\n", Some((13381, None, None, false)));
        check("-77\n/tmp/d\n1795201697\n", Some((77, Some(1_795_201_697), None, false)));
        check(head, Some((all.0, all.1, all.2, false)));
        check(&format!("{head}127.0.0.1\n 10010690 4\nstarting\n"), Some((all.0, all.1, all.2, false)));
        check(&format!("{head}127.0.0.1\n 10010690 4\nready   \n"), Some((all.0, all.1, all.2, true)));
        check(&format!("{head}127.0.0.1\n 10010690 4\nstopping\n"), Some((all.0, all.1, all.2, false)));
    }
}
