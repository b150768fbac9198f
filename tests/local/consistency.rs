//! Two services, each with a database of its own on the same servers, as two processes have them: what the one wrote, the other
//! reads, when the caller forwards a header.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use db_app::config::Layers;
use db_app::consistency::{Consistency, ConsistencyLayer};
use db_app::{Config, Database};
use db_core::{Executor as _, Query as _};
use db_testkit::TestCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{backend, client, eventually};

/// A service that is under way.
struct Service {
    database: Database,
    address: SocketAddr,
}

/// What came back.
struct Answer {
    status: u16,
    token: Option<String>,
    body: String,
}

async fn write(State(db): State<Database>, consistency: Consistency) -> String {
    db.execute("INSERT INTO numbers VALUES (7)", &[]).await.expect("a write");
    consistency.wrote_to(&db).await.expect("a token");
    read(State(db), consistency).await
}

/// Where it read, and how many numbers there are.
async fn read(State(db): State<Database>, consistency: Consistency) -> String {
    let sql = "SELECT current_setting('cluster_name') || ' ' || count(*) FROM numbers";
    consistency.reads(&db).one(sql, &[]).await.expect("a read")
}

impl Service {
    async fn start(servers: &TestCluster) -> Self {
        let layers = Layers::default()
            .with_environment("DATABASE_URL", servers.node(0).url())
            .with_environment("DATABASE_REPLICA_URL", servers.node(1).url())
            .with_environment("DB_REPLICA_MAX_LAG_MS", "600000");
        let config = Config::load(&layers).expect("a configuration");
        let database = Database::open(config).await.expect("a database");
        let routes = Router::new().route("/", get(read).post(write));
        let routes = routes.layer(ConsistencyLayer::new()).with_state(database.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { database, address }
    }

    async fn ask(&self, method: &str, token: Option<&str>) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        let header = token.map(|token| format!("X-DB-Token: {token}\r\n")).unwrap_or_default();
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let token = head.lines().find_map(|line| line.strip_prefix("x-db-token: ")).map(str::to_owned);
        Answer { status, token, body: body.to_owned() }
    }
}

/// A token goes from the answer of one service to a request of the other, and what it stands for is read there: on the primary
/// while the replica is late, and on the replica once it has it.
#[tokio::test]
async fn a_write_in_one_service_is_read_in_the_other() {
    let servers = TestCluster::start(&backend(), 1).await.expect("servers");
    let primary = client(servers.node(0).url()).await;
    primary.batch_execute("CREATE TABLE numbers (number bigint)").await.expect("a table");
    servers.caught_up(1, 0).await.expect("caught up");
    servers.lag(1, Duration::from_secs(60)).await.expect("late");
    let (first, second) = (Service::start(&servers).await, Service::start(&servers).await);

    let wrote = first.ask("POST", None).await;
    assert_eq!((wrote.status, &*wrote.body), (200, "node-0 1"), "it reads what it wrote itself");
    let token = wrote.token.expect("a token");
    let without = second.ask("GET", None).await;
    assert_eq!((&*without.body, without.token), ("node-1 0", None), "the replica is late");
    let with = second.ask("GET", Some(&token)).await;
    assert_eq!((&*with.body, with.token.as_deref()), ("node-0 1", Some(&*token)));

    servers.lag(1, Duration::ZERO).await.expect("not late any more");
    eventually("the replica has it", async || second.ask("GET", Some(&token)).await.body == "node-1 1").await;

    let refused = second.ask("POST", Some(&token[..20])).await;
    assert_eq!((refused.status, &*refused.body), (400, "header x-db-token: not a consistency token\n"));
    assert_eq!(second.ask("GET", Some(&token)).await.body, "node-1 1", "nothing was written");
    for service in [first, second] {
        service.database.close(Duration::from_secs(5)).await.expect("closed");
    }
    drop(primary);
    servers.stop().await.expect("stopped");
}
