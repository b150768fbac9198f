//! Connections that end after any byte of a transaction.

use db_testkit::{Direction, End, Fault};
use tokio_postgres::Client;

use super::{Scene, soon};

async fn insert(client: &Client, n: i32) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(&format!("INSERT INTO t VALUES ({n})")).await?;
    client.batch_execute("COMMIT").await
}

/// The length of one transaction in both directions.
async fn length(scene: &Scene) -> (u64, u64) {
    let client = scene.client().await;
    let before = scene.proxy.counts();
    insert(&client, 1000).await.expect("nothing is cut");
    let after = scene.proxy.counts();
    (after.bytes_to_server - before.bytes_to_server, after.bytes_to_client - before.bytes_to_client)
}

/// At every place on the way to the server: the transaction is undone, unless its COMMIT has arrived as a whole.
#[tokio::test]
async fn a_transaction_is_cut_at_every_byte_towards_the_server() {
    let scene = Scene::new().await;
    let (length, _) = length(&scene).await;
    assert_eq!(length, 11 + 33 + 12);
    for after in 0..=length {
        // On a connection that was there before, with something else on it.
        let client = scene.client().await;
        let cut = scene.proxy.inject(Fault::cut_after(Direction::ToServer, after).from_begin().nth(1));
        client.batch_execute("SELECT 1").await.expect("outside of a transaction");
        soon(insert(&client, 1001)).await.expect_err("cut");
        assert_eq!(cut.fired(), 1, "after {after} bytes");
        scene.settled().await;
        let rows = 1 + i64::from(after == length);
        assert_eq!(scene.rows().await, rows, "after {after} bytes");
    }
    let client = scene.client().await;
    let cut = scene.proxy.inject(Fault::cut_after(Direction::ToServer, length + 1).from_begin());
    insert(&client, 1002).await.expect("it is shorter");
    insert(&client, 1003).await.expect("and each counts alone");
    assert_eq!(cut.fired(), 0);
}

/// At every place on the way to the client: it is committed when the COMMIT was sent, whatever of the answer arrived.
#[tokio::test]
async fn a_transaction_is_cut_at_every_byte_towards_the_client() {
    let scene = Scene::new().await;
    let (_, length) = length(&scene).await;
    // CommandComplete and ReadyForQuery of BEGIN, INSERT, COMMIT.
    let (begin, insertion) = (5 + 6 + 6, 5 + 11 + 6);
    assert_eq!(length, begin + insertion + (5 + 7 + 6));
    for after in 0..=length {
        let client = scene.client().await;
        let before = (scene.rows().await, scene.proxy.counts());
        let end = if after % 2 == 0 { End::Reset } else { End::Close };
        let fault = Fault::cut_after(Direction::ToClient, after).from_begin().nth(1).end(end);
        let cut = scene.proxy.inject(fault);
        // The last byte may arrive before the cut is seen.
        let answer = soon(insert(&client, 1001)).await;
        assert_eq!(answer.is_ok(), after == length, "after {after} bytes: {answer:?}");
        soon(cut.wait(1)).await;
        scene.settled().await;
        let sent = scene.proxy.counts().commits - before.1.commits;
        assert_eq!(scene.proxy.counts().bytes_to_client - before.1.bytes_to_client, after);
        assert_eq!(sent == 1, after > begin + insertion, "after {after} bytes");
        assert_eq!(scene.rows().await - before.0, i64::from(sent == 1), "after {after} bytes");
    }
}

/// Without a BEGIN it counts from the injection on each connection that is there, and from its start on a later one.
#[tokio::test]
async fn a_cut_counts_from_the_injection() {
    let scene = Scene::new().await;
    let (one, other) = (scene.client().await, scene.client().await);
    // Twice 14 bytes, and the third goes too far.
    let cut = scene.proxy.inject(Fault::cut_after(Direction::ToServer, 30));
    for client in [&one, &other] {
        for _ in 0..2 {
            soon(client.batch_execute("SELECT 1")).await.expect("not yet");
        }
    }
    for client in [&one, &other] {
        soon(client.batch_execute("SELECT 1")).await.expect_err("cut");
    }
    assert_eq!(cut.fired(), 2);
    // The startup message is longer than that.
    let config = scene.proxy.config();
    soon(config.connect(tokio_postgres::NoTls)).await.err().expect("cut");
    assert_eq!(cut.fired(), 3);
    cut.withdraw();
    soon(scene.client().await.batch_execute("SELECT 1")).await.expect("withdrawn");
}
