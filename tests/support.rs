//! What the tests share: servers, databases, and waiting for a condition.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_core::{Abandoned, Closed, ConnectFailed, Connected, Executed, HighUse, Leaked, Observer};
use db_pool::{Pool, Settings};
use db_testkit::{Backend, TestDatabase, TestServer};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// An image that is surely not there unless somebody named one: containers are used only when they were asked for.
const NO_IMAGE: &str = "none";

/// Where the servers of this run come from: what `cargo xtask test` chose.
pub(crate) fn backend() -> Backend {
    match std::env::var("DB_TEST_IMAGE") {
        Ok(image) => Backend::Docker(image),
        Err(_) => Backend::find(None, NO_IMAGE, std::env::var_os("PATH")).expect("binaries of PostgreSQL"),
    }
}

/// A fresh database on the server that all tests share.
pub(crate) async fn database() -> TestDatabase {
    if let Ok(url) = std::env::var("DB_TEST_URL") {
        let server = TestServer::start(&Backend::Url(url)).await.expect("the given server");
        return server.database().await.expect("a fresh database");
    }
    // Without `cargo xtask test`: one server for this process, on a runtime that outlives every test's own.
    static RUNTIME: OnceCell<Runtime> = OnceCell::const_new();
    static SERVER: OnceCell<TestServer> = OnceCell::const_new();
    let runtime = RUNTIME.get_or_init(async || Runtime::new().expect("a runtime")).await;
    let server = SERVER
        .get_or_init(async || {
            let started = runtime.spawn(async { TestServer::start(&backend()).await });
            started.await.expect("no panic").expect("a server")
        })
        .await;
    server.database().await.expect("a fresh database")
}

/// A server that this test alone may stop.
pub(crate) async fn own_server() -> TestServer {
    TestServer::start(&backend()).await.expect("a server")
}

/// The default settings, with more patience: the machine is busy with other tests.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    (settings.acquire_timeout, settings.connect_timeout) = (Duration::from_secs(20), Duration::from_secs(10));
    settings.check_timeout = Duration::from_secs(10);
    settings
}

/// A pool on `database` with the settings of the tests as changed.
pub(crate) async fn pool(database: &TestDatabase, change: impl FnOnce(&mut Settings)) -> Pool {
    let mut settings = settings();
    change(&mut settings);
    Pool::open(database.config(), settings).await.expect("a pool")
}

/// A connection outside any pool, to look at the server from the side.
pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

/// Waits until `condition` holds, and fails the test when it does not within 10 s.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// An observer that writes down what it is told.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub(crate) fn has(&self, event: &str) -> bool {
        self.events().iter().any(|seen| seen == event)
    }

    fn note(&self, event: String) {
        self.0.lock().expect("no panic").push(event);
    }
}

impl Observer for Recorder {
    fn connected(&self, event: &Connected<'_>) {
        self.note(format!("connected {}", event.pool));
    }

    fn connect_failed(&self, event: &ConnectFailed<'_>) {
        self.note(format!("connect failed {}", event.pool));
    }

    fn high_use(&self, event: &HighUse<'_>) {
        self.note(format!("high use {} of {}", event.in_use, event.max));
    }

    fn leaked(&self, event: &Leaked<'_>) {
        self.note(format!("leaked {}", event.place));
    }

    fn executed(&self, event: &Executed<'_>) {
        let slow = if event.is_slow { "slow " } else { "" };
        let end = if event.error.is_some() { "failed" } else { "ok" };
        self.note(format!("executed {slow}{} {end}", event.statement()));
    }

    fn abandoned(&self, event: &Abandoned<'_>) {
        let slow = if event.is_slow { "slow " } else { "" };
        self.note(format!("abandoned {slow}{}", event.statement()));
    }

    fn closed(&self, event: &Closed<'_>) {
        self.note(format!("closed {:?} {:?}", event.reason, event.state));
    }
}

/// A log that can be read.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
