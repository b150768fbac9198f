//! Running the program: a folder of its own, a clean environment, and nothing left behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command as AsyncCommand};
use tokio::time::timeout;

/// What tests serve with: a free port, and health that is quick to change.
const OF_TESTS: [(&str, &str); 2] = [("DB_HTTP_ADDR", "127.0.0.1:0"), ("DB_HEALTH_INTERVAL_MS", "100")];

/// A place for runs of the program, with the project's migrations.
pub(crate) struct Place {
    folder: TempDir,
}

/// The program under way.
pub(crate) struct Started {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// The program under way, with both of its streams.
pub(crate) struct Spawned(Child);

/// `db serve` under way.
pub(crate) struct Serving {
    started: Started,
    /// `host:port` of the HTTP server.
    pub(crate) address: std::net::SocketAddr,
    /// What it printed until it was ready.
    pub(crate) printed: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::Builder::new().prefix("db-program-").tempdir().expect("a folder");
        // PostgreSQL may run as another user, who must be able to enter.
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).expect("permissions");
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of the server that the program starts.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("postgres/data")
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        self.command(arguments, environment).output().expect("the program runs")
    }

    /// Runs it, expects success, and reads its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments, &[]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Starts the program and collects what it prints.
    pub(crate) fn spawn(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Spawned {
        let mut command = AsyncCommand::from(self.command(arguments, environment));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Spawned(command.spawn().expect("the program runs"))
    }

    /// Starts `db serve` on a free port and waits until it is ready.
    pub(crate) async fn serve(&self, environment: &[(&str, &str)]) -> Serving {
        Self::serving(self.start_with("serve", environment)).await
    }

    /// The same from a shell that allows so many open files.
    pub(crate) async fn serve_with_files(&self, files: u32, environment: &[(&str, &str)]) -> Serving {
        let script = format!("ulimit -Sn {files}; exec \"$0\" serve");
        let program = program().to_str().expect("a path that is text");
        let command = self.command_of("sh", &["-c", &script, program], &[environment, &OF_TESTS].concat());
        Self::serving(Started::of(command)).await
    }

    /// The same, with its log in a file.
    pub(crate) async fn serve_logged(&self, environment: &[(&str, &str)], log: &Path) -> Serving {
        let mut command = self.command(&["serve"], &[environment, &OF_TESTS].concat());
        command.stderr(std::fs::File::create(log).expect("a file"));
        Self::serving(Started::of(command)).await
    }

    async fn serving(mut started: Started) -> Serving {
        let mut printed = String::new();
        let ready = async {
            while let Some(line) = started.output.next_line().await.expect("text") {
                printed.push_str(&line);
                printed.push('\n');
                if let Some(place) =
                    line.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/health/db"))
                {
                    return place.parse().expect("an address");
                }
            }
            panic!("it ended: {printed}");
        };
        let address = timeout(Duration::from_secs(30), ready).await.expect("ready within 30 s");
        Serving { started, address, printed }
    }

    /// Starts the program and does not wait for anything.
    pub(crate) fn start(&self, command: &str) -> Started {
        self.start_with(command, &[])
    }

    fn start_with(&self, command: &str, environment: &[(&str, &str)]) -> Started {
        self.start_reading(&[command], &[environment, &OF_TESTS].concat())
    }

    /// Starts the program, to read its lines as it prints them.
    pub(crate) fn start_reading(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Started {
        Started::of(self.command(arguments, environment))
    }

    /// A run that has not begun.
    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        self.command_of(program(), arguments, environment)
    }

    fn command_of(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DB_EMBEDDED_DIR", self.path().join("postgres"));
        command.env("DB_MIGRATIONS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations"));
        command.envs(environment.iter().copied());
        command
    }
}

impl Spawned {
    /// Sends a signal and waits for the end.
    pub(crate) async fn end(self, signal: Signal) -> Output {
        send(&self.0, signal);
        self.wait().await
    }

    /// Waits for the end.
    pub(crate) async fn wait(self) -> Output {
        let ended = timeout(Duration::from_secs(30), self.0.wait_with_output()).await;
        ended.expect("it ends within 30 s").expect("its output")
    }
}

impl Serving {
    /// Sends a signal and waits for nothing.
    pub(crate) fn send(&self, signal: Signal) {
        send(&self.started.child, signal);
    }

    /// Waits for the end that it was told to come to, and gives the exit code.
    pub(crate) async fn ended(self) -> Option<i32> {
        self.started.ended().await
    }

    /// As [`Started::end`].
    pub(crate) async fn end(self, signal: Signal) -> Option<i32> {
        self.started.end(signal).await
    }
}

impl Started {
    fn of(command: Command) -> Self {
        let mut command = AsyncCommand::from(command);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program runs");
        let output = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, output }
    }

    /// Waits for the next line of its output; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(Duration::from_secs(30), self.output.next_line()).await;
        line.expect("a line within 30 s").expect("text")
    }

    /// Sends a signal and gives the exit code, `None` when the signal itself ended it.
    pub(crate) async fn end(self, signal: Signal) -> Option<i32> {
        send(&self.child, signal);
        self.ended().await
    }

    async fn ended(mut self) -> Option<i32> {
        while let Ok(Some(_)) = self.output.next_line().await {}
        let ended = timeout(Duration::from_secs(15), self.child.wait()).await;
        ended.expect("it ends within 15 s").expect("a status").code()
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().expect("it runs");
    kill(Pid::from_raw(pid.try_into().expect("a process id")), signal).expect("the signal");
}

/// Both streams, for messages of failed tests.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Processes that work in the data folder: PostgreSQL's and nobody else's.
pub(crate) fn processes_in(data: &Path) -> usize {
    let Ok(data) = data.canonicalize() else { return 0 };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data)).count()
}

/// The program, built by the cargo that built this test.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built(&["--bin", "db"]))
}

/// An example of `db-app`, built in the same way.
pub(crate) fn example(name: &str) -> PathBuf {
    built(&["--example", name])
}

fn built(what: &[&str]) -> PathBuf {
    let arguments = ["build", "--quiet", "--package", "db-app", "--message-format", "json"];
    let built = Command::new(env!("CARGO")).args(arguments).args(what).output().expect("cargo");
    assert!(built.status.success(), "{}", text(&built));
    let messages = String::from_utf8(built.stdout).expect("text");
    let executable = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable =
        executable.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?))).next_back();
    executable.expect("the executable's path")
}
