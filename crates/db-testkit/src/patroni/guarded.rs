//! A program that ends when we end, whatever ends us, and takes the PostgreSQL that it has started with it. What the programs are
//! for is not known here.

use std::fs::File;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use std::os::unix::process::CommandExt;

use super::programs::User;
use crate::Error;

/// The shell that stands between.
///
/// Its standard input is a pipe whose other end only we hold, so the pipe ends when we do, even by `SIGKILL`. The watcher then kills
/// the program with all that is in its group. Patroni starts PostgreSQL in a session of its own, and never as its child; that one
/// is found by the file in its data folder, and known by its working folder. It may have been about to start when Patroni was
/// killed, so it is looked for a few times. An immediate shutdown leaves no shared memory behind, as `SIGKILL` would; that is
/// for one that does not end.
///
/// The shell ignores the signals with which a whole process group is ended, and collects its watcher.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null
data=$1
shift
setsid "$@" 3<&- &
program=$!
{
  while read -r _; do :; done
  trap '' ALRM
  kill -KILL -- "-$program"
  kill -KILL "$program"
} <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$program"
{ kill -ALRM "$watcher"; wait "$watcher"; } 2>/dev/null
[ -n "$data" ] || exit 0
signal=QUIT
looks=0
absent=0
while [ "$absent" -lt 5 ]; do
  looks=$((looks + 1))
  absent=$((absent + 1))
  [ "$looks" -lt 70 ] || signal=KILL
  if read -r pid <"$data/postmaster.pid" && [ "$(readlink "/proc/$pid/cwd")" = "$data" ]; then
    kill "-$signal" "$pid"
    absent=0
  fi
  sleep 0.1
done 2>/dev/null
exit 0
"#;

/// A running program. Dropping it ends the program, in the background.
#[derive(Debug)]
pub(super) struct Guarded {
    /// Held for its end only: nothing is ever written.
    pipe: Option<ChildStdin>,
    shell: Child,
}

impl Guarded {
    /// Starts a program with its output in `log`, in a process group of its own. `data` is the folder of the PostgreSQL that it is
    /// going to start, if it is.
    pub(super) fn spawn(
        program: &Path,
        arguments: &[String],
        data: Option<&Path>,
        user: Option<&User>,
        log: &Path,
    ) -> Result<Self, Error> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(data.unwrap_or(Path::new("")));
        command.arg(program).args(arguments);
        super::programs::prepare(&mut command, user);
        command.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut shell = command.spawn()?;
        Ok(Self { pipe: shell.stdin.take(), shell })
    }

    /// Has it end.
    pub(super) fn let_go(&mut self) {
        self.pipe = None;
    }

    /// Waits until it has ended, and its PostgreSQL with it. Blocks the thread.
    pub(super) fn end(mut self) {
        self.let_go();
        // Only somebody who waits for all children of this process can have been here before.
        self.shell.wait().ok();
    }
}
