//! What holds for all connections: stalls, delays, refusals, cuts.

use std::time::Duration;

use db_testkit::{Direction, Proxy, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_postgres::NoTls;

use super::{Scene, soon};

/// A stalled connection stays open and goes on when it is healed, in whichever direction it was.
#[tokio::test]
async fn a_stall_holds_everything_until_it_is_healed() {
    let scene = Scene::new().await;
    let client = scene.client().await;
    let insert = "INSERT INTO t VALUES (1)";

    scene.proxy.stall_one(Direction::ToServer);
    let before = scene.proxy.counts();
    let mut waiting = Box::pin(client.batch_execute(insert));
    // Polled once, so that it is sent; a connection of its own shows that whatever came has been seen.
    assert!(futures_util::poll!(&mut waiting).is_pending());
    scene.aside.batch_execute("SELECT 1").await.expect("aside");
    assert_eq!((scene.rows().await, scene.proxy.counts()), (0, before));
    scene.proxy.heal();
    soon(waiting).await.expect("healed");
    assert_eq!(scene.rows().await, 1);

    scene.proxy.stall_one(Direction::ToClient);
    let mut waiting = Box::pin(client.batch_execute(insert));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    crate::support::eventually("it is executed", async || scene.rows().await == 2).await;
    assert!(futures_util::poll!(&mut waiting).is_pending(), "the answer is held");
    scene.proxy.heal();
    soon(waiting).await.expect("healed");
}

/// That the server closes is not told in a stall, and is told when it is healed.
#[tokio::test]
async fn the_end_of_a_session_is_held_too() {
    let scene = Scene::new().await;
    let client = scene.client().await;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    scene.proxy.stall();
    scene.aside.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("terminate");
    scene.settled().await;
    assert!(!client.is_closed());
    assert_eq!(scene.proxy.counts().connections, 1);
    scene.proxy.heal();
    let error = soon(client.batch_execute("SELECT 1")).await.expect_err("it is told");
    // Also why: the last words of the server come before its end. The driver hands them to its connection.
    assert!(error.is_closed() || error.code().is_some_and(|code| code.code() == "57P01"), "{error}");
}

/// What is forgotten never comes back, and new connections work.
#[tokio::test]
async fn what_is_forgotten_is_dead_for_ever() {
    let scene = Scene::new().await;
    let client = scene.client().await;
    scene.proxy.stall();
    let waiting = tokio::spawn(async move { client.batch_execute("INSERT INTO t VALUES (1)").await });
    scene.proxy.forget();
    scene.proxy.heal();
    soon(scene.client().await.batch_execute("SELECT 1")).await.expect("a new one");
    assert!(!waiting.is_finished());
    assert_eq!(scene.rows().await, 0);
    // A cut ends the dead as well, and tells their clients.
    scene.proxy.cut();
    soon(waiting).await.expect("no panic").expect_err("cut");
    soon(scene.proxy.until(|counts| counts.connections == 0)).await;
}

/// All connections that are there are reset, on both sides; later ones are not.
#[tokio::test]
async fn a_cut_resets_what_is_there() {
    let scene = Scene::new().await;
    let clients = [scene.client().await, scene.client().await];
    scene.proxy.cut();
    for client in &clients {
        let error = soon(client.batch_execute("SELECT 1")).await.expect_err("cut");
        assert!(error.as_db_error().is_none(), "{error}");
    }
    scene.settled().await;
    soon(scene.client().await.batch_execute("SELECT 1")).await.expect("a new one");
    assert_eq!(scene.proxy.counts().accepted, 3);
}

/// The forms of a cut differ as seen from the client: a reset is an error, a close is an end.
#[tokio::test]
async fn a_reset_is_a_reset() {
    let scene = Scene::new().await;
    scene.proxy.refuse(Refusal::Reset);
    let mut refused = TcpStream::connect(scene.proxy.address()).await.expect("the listener is there");
    let error = soon(refused.read_u8()).await.expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    soon(scene.proxy.config().connect(NoTls)).await.err().expect("refused");

    scene.proxy.refuse(Refusal::Silence);
    let mut unanswered = TcpStream::connect(scene.proxy.address()).await.expect("accepted");
    unanswered.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.expect("sent");
    soon(scene.proxy.until(|counts| counts.connections == 1)).await;
    scene.proxy.heal();
    soon(scene.client().await.batch_execute("SELECT 1")).await.expect("served again");
    scene.proxy.cut();
    let error = soon(unanswered.read_u8()).await.expect_err("cut");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// A delay is a latency: it adds to each round trip once, and several requests on their way share it.
#[tokio::test]
async fn a_delay_is_a_latency() {
    const DELAY: Duration = Duration::from_millis(100);
    let scene = Scene::new().await;
    let client = scene.client().await;
    scene.proxy.delay(Direction::ToServer, DELAY);
    scene.proxy.delay(Direction::ToClient, DELAY);
    let start = Instant::now();
    let all = (0..20).map(|_| client.batch_execute("SELECT 1"));
    for answer in futures_util::future::join_all(all).await {
        answer.expect("late");
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= 2 * DELAY, "{elapsed:?}");
    assert!(elapsed < 20 * DELAY, "{elapsed:?}");
    // The end of a connection comes after what was sent before it.
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.expect("late");
    let mut commit = Box::pin(client.batch_execute("COMMIT"));
    assert!(futures_util::poll!(&mut commit).is_pending());
    drop(commit);
    drop(client);
    crate::support::eventually("it is committed", async || scene.rows().await == 1).await;
}

/// Who sends more than the other side takes, or more than is held in a stall, is left waiting.
#[tokio::test]
async fn a_slow_receiver_slows_the_sender() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = Proxy::start(silent.local_addr().expect("an address")).await.expect("a proxy");
    let data = vec![0xff; 1 << 20];
    for is_stalled in [false, true] {
        if is_stalled {
            proxy.stall();
        }
        let mut sender = TcpStream::connect(proxy.address()).await.expect("connect");
        let (_receiver, _) = silent.accept().await.expect("accept");
        let mut sent = 0;
        let stuck = async {
            loop {
                sent += sender.write(&data).await.expect("open");
                assert!(sent < 256 << 20, "it takes everything, stalled: {is_stalled}");
            }
        };
        // How long nothing moves is the condition here.
        tokio::time::timeout(Duration::from_secs(2), stuck).await.expect_err("it waits");
        // It still ends at once.
        proxy.cut();
        soon(proxy.until(|counts| counts.connections == 0)).await;
    }
}

/// A server that is not there is a reset, and the proxy goes on.
#[tokio::test]
async fn a_server_that_is_gone_is_a_reset() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let proxy = Proxy::start(address).await.expect("a proxy");
    let mut client = TcpStream::connect(proxy.address()).await.expect("connect");
    let error = soon(client.read_u8()).await.expect_err("no server");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    soon(proxy.until(|counts| (counts.accepted, counts.connections) == (1, 0))).await;
}
