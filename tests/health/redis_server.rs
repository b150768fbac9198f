//! A Redis of its own for one test, which stops and starts. It checks nothing itself.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The password that it asks for.
pub(crate) const PASSWORD: &str = "hunter2";

/// Runs a program that ends with our end of its input, also when this process is killed.
const WATCHED: &str =
    "exec 3<&0; \"$@\" <&- 3<&- & pid=$!; (cat <&3; kill -9 $pid) >/dev/null 2>&1 & exec 3<&-; wait $pid";

/// A Redis that keeps nothing, and ends when this is dropped.
pub(crate) struct Redis {
    process: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Between choosing a port and taking it somebody else may.
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
            if let Some(process) = run(port, folder.path()).await {
                return Self { process: Some(process), port, folder };
            }
        }
        panic!("redis-server did not start");
    }

    /// Its address, without the password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its address with this password.
    pub(crate) fn url_with(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().ok();
        }
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self) {
        self.process = Some(run(self.port, self.folder.path()).await.expect("redis-server starts again"));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `None` when it ended, for which a taken port is the usual reason.
async fn run(port: u16, folder: &Path) -> Option<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WATCHED, "sh"]).arg(program()).args(["--port", &port.to_string()]);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD]);
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().expect("a shell");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if process.try_wait().expect("a child").is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "redis-server is not ready within 20 s");
        sleep(Duration::from_millis(10)).await;
    }
    Some(process)
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("redis-server")).find(|it| it.is_file());
    found.expect("these tests need Redis: apt-get install redis-server")
}
