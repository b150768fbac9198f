//! A name of the DNS that moves to another address after a failover. The service runs in a mount namespace of its own, where
//! `/etc/hosts` is a file of this test; everything else of it is as in production. Where such a namespace cannot be made, the
//! test fails.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use db_testkit::{Proxy, TestCluster};
use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use super::program::{Place, example};
use crate::http::get;
use crate::retry::ledger;
use crate::support::{backend, client, eventually};

const NAME: &str = "primary.moving.test";

/// A service that knows its server by a name.
struct Service {
    _child: Child,
    _output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Service {
    async fn start(place: &Place, hosts: &Path, url: &str) -> Self {
        let mut command = Command::new("unshare");
        if !Uid::effective().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = "mount --bind \"$1\" /etc/hosts && exec \"$2\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(hosts).arg(example("service"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DATABASE_URL", url).env("DB_HTTP_ADDR", "127.0.0.1:0");
        command.env("DB_HEALTH_INTERVAL_MS", "100").env("DB_CONNECT_TIMEOUT_MS", "2000");
        command.current_dir(place.path()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().expect("this test needs unshare and mount: apt-get install util-linux");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = timeout(Duration::from_secs(30), output.next_line()).await.expect("it starts within 30 s");
        let line = line.expect("text").expect("a namespace with /etc/hosts of its own, and a service in it");
        let address = line.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        let address = address.and_then(|address| address.parse().ok()).expect("an address");
        Self { _child: child, _output: output, address }
    }

    async fn readiness(&self) -> u16 {
        get(self.address, "/health/ready", "").await.0
    }

    /// Adds a number: the status of the answer.
    async fn write(&self) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        let request = "POST /numbers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
    }
}

/// Two addresses with one port, one before each server.
async fn addresses(servers: &TestCluster) -> (Proxy, Proxy) {
    let upstream =
        |node: usize| SocketAddr::from(([127, 0, 0, 1], servers.node(node).config().get_ports()[0]));
    // The port is free at the first address, and may be taken at the second one.
    for _ in 0..5 {
        let first = Proxy::listen("127.0.0.2:0", upstream(0)).await.expect("127.0.0.2");
        if let Ok(second) = Proxy::listen(("127.0.0.3", first.address().port()), upstream(1)).await {
            return (first, second);
        }
    }
    panic!("no port that is free at both addresses");
}

/// In place: the file of this name is mounted.
fn point(hosts: &Path, address: &str) {
    std::fs::write(hosts, format!("127.0.0.1 localhost\n{address} {NAME}\n")).expect("hosts");
}

/// D2: the primary is killed, a replica promoted, and the name moved there: a service that was not told anything becomes ready, and
/// writes there.
#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let mut servers = TestCluster::start(&backend(), 1).await.expect("servers");
    let (first, second) = addresses(&servers).await;
    let place = Place::new();
    let hosts: PathBuf = place.path().join("hosts");
    point(&hosts, "127.0.0.2");
    let (_, place_and_database) = servers.node(0).url().rsplit_once('@').expect("a password");
    let (_, database) = place_and_database.split_once('/').expect("a database");
    let database = database.split('?').next().unwrap_or_default();
    let credentials = servers.node(0).url().rsplit_once('@').map(|(before, _)| before).unwrap_or_default();
    let port = first.address().port();
    let url = format!("{credentials}@{NAME}:{port}/{database}?sslmode=disable");
    let service = Service::start(&place, &hosts, &url).await;
    eventually("ready", async || service.readiness().await == 200).await;
    assert_eq!(service.write().await, 200);
    servers.caught_up(1, 0).await.expect("caught up");
    assert_eq!(second.counts().connections, 0);

    servers.halt_at_once(0).await.expect("killed");
    eventually("not ready", async || service.readiness().await == 503).await;
    servers.promote(1).await.expect("promoted");
    assert_eq!(service.write().await, 503, "the name has not moved yet");
    assert_eq!(second.counts().connections, 0);
    point(&hosts, "127.0.0.3");
    let moved = Instant::now();
    eventually("a write works", async || service.write().await == 200).await;
    let wrote = moved.elapsed();
    eventually("ready", async || service.readiness().await == 200).await;
    let outcome = format!("written after {wrote:.1?}, ready after {:.1?}", moved.elapsed());
    ledger::publish(&serde_json::json!({"routed": "a name moved to the new primary", "outcome": outcome}));
    let rows = client(servers.node(1).url()).await.query_one("SELECT count(*) FROM numbers", &[]).await;
    assert_eq!(rows.expect("rows").get::<_, i64>(0), 2);
    drop(service);
    servers.stop().await.expect("stopped");
}
