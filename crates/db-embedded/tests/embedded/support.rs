//! What the tests share: a place for a server, its processes, and patience with a limit.

use std::fs::Permissions;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use db_embedded::{Search, Server, Settings};
use secrecy::ExposeSecret;
use tempfile::TempDir;

/// A folder for one server, removed with everything in it.
pub(crate) struct Place {
    // The server's folder is one below, so that the server makes it itself.
    root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Root's PostgreSQL runs as another user, who must get through.
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root().join("server")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    pub(crate) fn settings(&self) -> Settings {
        let search = Search::with_path(std::env::var_os("PATH"));
        Settings::new(self.folder())
            .search(search)
            .parameter("fsync", "off")
            .start_timeout(Duration::from_mins(1))
    }

    pub(crate) async fn start(&self) -> Server {
        Server::start(self.settings()).await.unwrap()
    }

    /// Command lines of all processes that have to do with the folder.
    pub(crate) fn processes(&self) -> Vec<String> {
        let folder = self.folder().display().to_string();
        ps(&["-axo", "pid=,command="]).into_iter().filter(|line| line.contains(&folder)).collect()
    }

    pub(crate) fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        entries.filter(|it| it.file_name().to_string_lossy().starts_with("data.new")).count()
    }

    /// Process id in `postmaster.pid`.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
    }
}

/// Runs `ps`; its lines.
pub(crate) fn ps(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("ps").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

/// The process group of a process.
pub(crate) fn group(pid: u32) -> String {
    ps(&["-o", "pgid=", "-p", &pid.to_string()]).concat()
}

/// Command lines of a process group.
pub(crate) fn members(group: &str) -> Vec<String> {
    let belongs = |line: &String| line.split_whitespace().next() == Some(group);
    ps(&["-axo", "pgid=,command="]).into_iter().filter(belongs).collect()
}

pub(crate) fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Waits until a condition holds, and fails if it does not within that time.
pub(crate) async fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until no process has to do with a place.
pub(crate) async fn nothing_runs(place: &Place, within: Duration) {
    let start = Instant::now();
    while !place.processes().is_empty() {
        assert!(start.elapsed() < within, "still there after {within:?}: {:#?}", place.processes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn connect(server: &Server) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    connect_to(server.url().expose_secret()).await
}

pub(crate) async fn connect_to(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The first column of the first row, as text.
pub(crate) async fn ask(server: &Server, query: &str) -> String {
    let client = connect(server).await.unwrap();
    let rows = client.simple_query(query).await.unwrap();
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}

/// The example `keep`, which cargo builds with the tests only when none is chosen by name.
fn keep() -> &'static Path {
    static KEEP: OnceLock<PathBuf> = OnceLock::new();
    KEEP.get_or_init(|| {
        let arguments = ["build", "--quiet", "--package", "db-embedded", "--example", "keep"];
        assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
        let tests = std::env::current_exe().unwrap();
        tests.ancestors().nth(2).unwrap().join("examples/keep")
    })
}

/// Another process with a server: the example `keep`.
pub(crate) struct Keeper {
    child: Child,
}

impl Keeper {
    pub(crate) fn spawn(folder: &Path) -> Self {
        let keep = keep();
        Self { child: Command::new(keep).arg(folder).stdout(Stdio::piped()).spawn().unwrap() }
    }

    /// Waits for what it prints when its server is ready: its role and the URL.
    pub(crate) async fn ready(&mut self) -> (String, String) {
        let output = self.child.stdout.take().unwrap();
        let read = move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).unwrap();
            line
        };
        let line = within(tokio::task::spawn_blocking(read)).await.unwrap();
        let (role, url) = line.trim().split_once(' ').expect("the other process has a server");
        (role.to_owned(), url.to_owned())
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(mut self) {
        kill("-INT", self.child.id());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A test that failed must not leave its process behind.
impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing here takes a minute, unless it hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("done within a minute")
}
