//! A PgBouncer of its own for one test, in front of the test's database or of a given server. It checks nothing itself.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use db_pool::{Pool, Settings};
use db_testkit::TestDatabase;
use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

use crate::support::settings;

/// As few as can differ from each other.
pub(super) const SERVERS: usize = 2;

/// Runs a program that ends with our end of its input, also when this process is killed.
const WATCHED: &str =
    "exec 3<&0; \"$@\" <&- 3<&- & pid=$!; (cat <&3; kill -9 $pid) >/dev/null 2>&1 & exec 3<&-; wait $pid";

/// Whose session a client has.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Session,
    Transaction,
}

/// A running PgBouncer, which ends when this is dropped.
pub(super) struct Bouncer {
    process: Child,
    port: u16,
    database: String,
    mode: Mode,
    folder: TempDir,
}

impl Bouncer {
    /// Starts one that keeps at most [`SERVERS`] sessions with the server of `database`.
    pub(super) async fn before(database: &TestDatabase, mode: Mode) -> Self {
        Self::before_server(&database.config(), mode).await
    }

    /// Starts one before the database that `server` names.
    pub(super) async fn before_server(server: &Config, mode: Mode) -> Self {
        // Between choosing a port and taking it somebody else may.
        for _ in 0..5 {
            if let Some(bouncer) = Self::start(server, mode).await {
                return bouncer;
            }
        }
        panic!("pgbouncer did not start");
    }

    /// Has another server behind it from now on. Transactions that are open stay where they are.
    pub(super) async fn turn_to(&self, server: &Config) {
        std::fs::write(self.file(), configuration(server, self.mode, self.port, &self.log()))
            .expect("a file");
        let mut admin = self.config();
        let (client, connection) =
            admin.user("admin").dbname("pgbouncer").connect(NoTls).await.expect("its console");
        tokio::spawn(connection);
        client.batch_execute("RELOAD").await.expect("reload");
    }

    /// The database through it, with nothing said of settings.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new();
        // It connects to the server as the user of the tests, whoever comes.
        config.host("127.0.0.1").port(self.port).user("anybody").dbname(&self.database);
        config
    }

    /// A pool through it, with the settings of the tests as changed.
    pub(super) async fn pool(&self, change: impl FnOnce(&mut Settings)) -> Pool {
        let mut settings = settings();
        change(&mut settings);
        Pool::open(self.config(), settings).await.expect("a pool")
    }

    /// Somebody else's connection through it.
    pub(super) async fn client(&self) -> Client {
        // PgBouncer gives a client that has no name the one of whoever was there before.
        let (client, connection) =
            self.config().application_name("other").connect(NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// Gives what somebody else reads in each of the server's sessions, by statements without names.
    pub(super) async fn in_each_session(&self, sql: &str) -> Vec<String> {
        let (mut clients, mut sessions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SERVERS {
            let client = self.client().await;
            // Open transactions hold their sessions, so that the next one is another.
            client.batch_execute("BEGIN").await.expect("begin");
            sessions.push(
                client.query_typed("SELECT pg_backend_pid()", &[]).await.expect("a pid")[0].get::<_, i32>(0),
            );
            values.push(client.query_typed(sql, &[]).await.expect(sql)[0].get(0));
            clients.push(client);
        }
        assert_ne!(sessions[0], sessions[1]);
        for client in clients {
            client.batch_execute("ROLLBACK").await.expect("rollback");
        }
        values
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pgbouncer.ini")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    async fn start(server: &Config, mode: Mode) -> Option<Self> {
        let program = program();
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let (file, log) = (folder.path().join("pgbouncer.ini"), folder.path().join("log"));
        std::fs::write(&file, configuration(server, mode, port, &log)).expect("a file");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHED, "sh"]).arg(program).arg("--quiet").arg(&file);
        if Uid::effective().is_root() {
            // It refuses to run as root.
            let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
            let (uid, gid) =
                user.map(|user| (user.uid.as_raw(), user.gid.as_raw())).expect("a user other than root");
            for path in [folder.path(), &file] {
                chown(path, Some(uid), Some(gid)).expect("give away");
            }
            command.uid(uid).gid(gid);
        }
        let process =
            command.current_dir("/").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
        let database = server.get_dbname().expect("a database").to_owned();
        let mut this = Self { process, port, database, mode, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let Err(failed) = this.config().connect(NoTls).await else { return Some(this) };
            if this.process.try_wait().expect("a child").is_some() {
                return None;
            }
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "not ready within 20 s: {failed}\n{}", said());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// Debian keeps it where other users than root do not look.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file());
    found.expect("these tests need PgBouncer: apt-get install pgbouncer")
}

fn configuration(server: &Config, mode: Mode, port: u16, log: &Path) -> String {
    let host = match &server.get_hosts()[0] {
        Host::Tcp(host) => host.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let password = String::from_utf8_lossy(server.get_password().unwrap_or_default()).replace('\'', "''");
    let (server_port, user) = (server.get_ports()[0], server.get_user().expect("a user"));
    let mode = match mode {
        Mode::Session => "session",
        Mode::Transaction => "transaction",
    };
    format!(
        "[databases]\n\
         * = host={host} port={server_port} user={user} password='{password}' client_encoding=LATIN1\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         admin_users = admin\n\
         pool_mode = {mode}\n\
         default_pool_size = {SERVERS}\n\
         server_login_retry = 1\n\
         logfile = {}\n",
        log.display()
    )
}
