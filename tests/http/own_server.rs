//! The HTTP face while servers stop, freeze, and are taken out.

use std::time::Duration;

use db_app::Database;
use db_core::Query as _;
use serde_json::json;
use tokio::time::Instant;

use super::call::call;
use super::operators::{audited, done, log, operate};
use super::{close, get, open, problem, serve, within};
use crate::cluster::scene::{NAME, servers};
use crate::support::{eventually, own_server};

const INTERVAL: (&str, &str) = ("DB_HEALTH_INTERVAL_MS", "1000");

/// What is promised: three intervals and the time limit of a look, 1 s each; one more for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(3 + 1 + 1);

/// Not ready within the limit, with a reason, and alive all the while.
async fn is_seen_to_be_gone(address: std::net::SocketAddr, reason: &str) {
    let begun = Instant::now();
    within(LIMIT, "not ready", async || {
        assert_eq!(get(address, "/health/live", "").await.0, 200);
        let (status, body) = get(address, "/health/ready", "").await;
        let postgres = &body["checks"]["postgres"];
        assert_eq!(status == 503, postgres["status"] == "down", "{body}");
        status == 503 && postgres["reason"] == reason
    })
    .await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!(get(address, "/health/startup", "").await.0, 200, "it was well once");
}

/// A4, B8: a server that stops is seen within three intervals, and one that is back as well.
#[tokio::test]
async fn a_server_that_stops() {
    let mut server = own_server().await;
    let db = open(server.url(), &[INTERVAL]).await;
    let address = serve(&db).await;
    assert_eq!(get(address, "/health/ready", "").await.0, 200);
    server.halt().await.expect("halted");
    is_seen_to_be_gone(address, "unreachable").await;
    server.resume().await.expect("resumed");
    eventually("ready", async || get(address, "/health/ready", "").await.0 == 200).await;
    close(&db).await;
}

/// A4, B8: one that keeps its connections and says nothing is seen by the time limit of a look.
#[tokio::test]
async fn a_server_that_says_nothing() {
    let server = own_server().await;
    let db = open(server.url(), &[INTERVAL]).await;
    let address = serve(&db).await;
    server.freeze().await.expect("frozen");
    is_seen_to_be_gone(address, "timeout").await;
    server.thaw().await.expect("thawed");
    eventually("ready", async || get(address, "/health/ready", "").await.0 == 200).await;
    close(&db).await;
}

async fn where_reads_go(db: &Database) -> String {
    db.reads().one(NAME, &[]).await.expect("a read")
}

/// B4, B6, D10, D11: a replica is drained and restored by the name that the figures have; a dead one alone leaves the service
/// ready.
#[tokio::test]
async fn a_replica_is_taken_out_and_given_back() {
    let (lines, _log) = log();
    let mut servers = servers(1).await;
    let replica = servers.node(1).url().to_owned();
    let settings = [("DATABASE_REPLICA_URL", &*replica), ("DB_HEALTH_INTERVAL_MS", "100")];
    let db = open(servers.node(0).url(), &settings).await;
    let address = serve(&db).await;
    eventually("reads go to the replica", async || where_reads_go(&db).await == "node-1").await;

    let (_, figures) = get(address, "/api/metrics/db", "").await;
    let names: Vec<_> =
        figures["servers"].as_array().expect("servers").iter().map(|it| it["name"].clone()).collect();
    let pools: Vec<_> = db.pools().into_iter().map(|stats| stats.pool).collect();
    assert_eq!(pools[0], db.stats().pool, "that for writes is the first");
    assert_eq!(names.len(), 2, "{figures}");
    let name = names[1].as_str().expect("a name");
    assert!(pools[1..].iter().any(|pool| pool.contains(name)), "{pools:?} has one for {name}");
    assert_eq!(figures["pools"].as_array().map(Vec::len), Some(pools.len()), "{figures}");

    let refused =
        call(address, "POST /api/admin/drain", super::JSON, &json!({ "server": name }).to_string()).await;
    problem(&refused, 401, "unauthorized");
    assert_eq!(where_reads_go(&db).await, "node-1");
    let body = done(&operate(address, "drain", &json!({ "server": name })).await, "drain");
    assert_eq!(body["server"], name);
    assert_eq!(where_reads_go(&db).await, "node-0");
    let (_, live) = get_live(address).await;
    assert_eq!(live["servers"][1]["drained"], true, "{live}");
    done(&operate(address, "restore", &json!({ "server": name })).await, "restore");
    eventually("reads go to the replica", async || where_reads_go(&db).await == "node-1").await;

    let message = problem(&operate(address, "drain", &json!({ "server": "none" })).await, 404, "no_server");
    assert!(message.contains(name), "it lists those that there are: {message}");
    assert_eq!(audited(&lines, "action=\"drain\"").len(), 2);
    assert_eq!(audited(&lines, "action=\"restore\"").len(), 1);

    servers.halt(1).await.expect("halted");
    eventually("degraded", async || get(address, "/health", "").await.1["status"] == "degraded").await;
    let (status, body) = get(address, "/health/ready", "").await;
    assert_eq!((status, &body["checks"]["replicas"]["degraded"]), (200, &true.into()), "{body}");
    close(&db).await;
    servers.stop().await.expect("stopped");
}

async fn get_live(address: std::net::SocketAddr) -> (u16, serde_json::Value) {
    let answer = call(address, "GET /api/live", "Accept: application/json\r\n", "").await;
    (answer.status, answer.json())
}
