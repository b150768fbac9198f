//! Runs one program that ends when we end, whatever ends us. Knows nothing of PostgreSQL but what its signals mean.

use std::fs::File;
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use std::os::unix::process::{CommandExt, ExitStatusExt};

use tokio::sync::watch;

use crate::Error;
use crate::error::io;
use crate::user::RunAs;

/// The shell that stands between.
///
/// Its standard input is a pipe whose other end only we hold, so the pipe ends when we do, even by `SIGKILL`. The
/// watcher then asks for a fast shutdown, more than once because a program is deaf to it until it has set its handler
/// (a shell starts background programs with `SIGINT` ignored), and after 3 s for an immediate one. The program itself
/// gets neither the pipe nor the watcher's copy of it.
///
/// The shell ignores the signals with which a whole process group is ended, so that it can see its program out. It
/// collects its watcher too, for not every container has an `init` that does: `SIGALRM` ends one that still reads,
/// and one that is past that point ends by itself as soon as the program is gone.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
{
  while read -r _; do :; done
  trap '' ALRM
  tenths=0
  while [ "$tenths" -lt 30 ]; do
    kill -INT "$program" || exit
    sleep 0.1
    tenths=$((tenths + 1))
  done
  kill -QUIT "$program"
} <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$program"
status=$?
{ kill -ALRM "$watcher"; wait "$watcher"; } 2>/dev/null
exit "$status"
"#;

/// A program that runs under the supervisor. Dropping it stops the program, and a thread collects what is left.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// Held for its end only: nothing is ever written.
    _pipe: Option<ChildStdin>,
    status: watch::Receiver<Option<ExitStatus>>,
}

impl Supervised {
    /// Starts a program with its output in `log`, in a process group of its own, so that Ctrl-C in a terminal reaches
    /// us and not the database we may still need.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        run_as: Option<&RunAs>,
        log: File,
    ) -> Result<Self, Error> {
        let errors = log.try_clone().map_err(io("share the log of", program))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(program).args(arguments);
        // Messages must be in the language that they are searched for; macOS needs a locale for postgres to start.
        command.env("LC_ALL", "C").envs(environment.iter().cloned()).current_dir("/").process_group(0);
        if let Some(user) = run_as {
            command.uid(user.uid).gid(user.gid);
        }
        command.stdin(Stdio::piped()).stdout(log).stderr(errors);
        let mut child = command.spawn().map_err(io("run", program))?;
        let pipe = child.stdin.take();

        // A thread, and not the runtime, waits for the child: a server may outlive the runtime it was started on, and
        // a dropped one has to be collected too.
        let (sender, status) = watch::channel(None);
        let wait = move || {
            // Waiting for a child that is ours fails for no known reason; whoever waits must be told something.
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(127 << 8));
            sender.send_replace(Some(status));
        };
        std::thread::Builder::new()
            .name("db-embedded".to_owned())
            .spawn(wait)
            .map_err(io("watch", program))?;
        Ok(Self { _pipe: pipe, status })
    }

    /// The status, once it has ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Waits for the end.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is lost, and the program goes on.
    pub(crate) fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            let ended = status.wait_for(Option::is_some).await.map(|it| *it);
            // The thread cannot end without sending.
            ended.ok().flatten().unwrap_or_else(|| ExitStatus::from_raw(127 << 8))
        }
    }
}
