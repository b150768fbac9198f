//! The log file of a server, and what of it belongs into an error. PostgreSQL writes it; nobody rotates it while it runs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::error::io;

/// A log that is larger than this at the start is moved aside first, replacing the one moved before.
const KEEP_BYTES: u64 = 16 << 20;

/// How much of the end is read for an error.
const TAIL_BYTES: u64 = 64 << 10;

/// A log from the moment it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    path: PathBuf,
    start: u64,
}

impl Log {
    /// Opens the log for appending; the file is for the standard output of a child process.
    pub(crate) fn open(path: &Path) -> Result<(File, Self), Error> {
        if fs::metadata(path).is_ok_and(|it| it.len() > KEEP_BYTES) {
            fs::rename(path, path.with_extension("log.1")).map_err(io("move", path))?;
        }
        let file = File::options().append(true).create(true).open(path).map_err(io("open", path))?;
        let start = file.metadata().map_err(io("read", path))?.len();
        Ok((file, Self { path: path.to_path_buf(), start }))
    }

    /// What was written since it was opened, limited to the end.
    pub(crate) fn text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            let length = file.metadata().map_or(0, |it| it.len());
            let start = self.start.max(length.saturating_sub(TAIL_BYTES));
            // A log that cannot be read must not hide the error it was read for.
            let _ = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines that tell what went wrong, in one line.
    pub(crate) fn relevant(&self) -> String {
        relevant(&self.text())
    }
}

fn relevant(text: &str) -> String {
    const MARKS: &[&str] =
        &["FATAL:", "PANIC:", "ERROR:", "DETAIL:", "HINT:", "WARNING:", "error:", "detail:", "hint:"];
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut chosen: Vec<_> = lines().filter(|line| MARKS.iter().any(|mark| line.contains(mark))).collect();
    if chosen.is_empty() {
        chosen = lines().collect();
    }
    match chosen.len() {
        0 => "the log is empty".to_owned(),
        count => chosen[count.saturating_sub(5)..].join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_lines_that_tell() {
        fn check(text: &str, expect: &str) {
            assert_eq!(relevant(text), expect);
        }
        check("", "the log is empty");
        check("one\n\n two\n", "one; two");
        check("1\n2\n3\n4\n5\n6\n", "2; 3; 4; 5; 6");
        check("LOG:  starting\nFATAL:  no\nHINT:  do\nLOG:  shut down\n", "FATAL:  no; HINT:  do");
        check("initdb: error: could not\nother\n", "initdb: error: could not");
    }
}
