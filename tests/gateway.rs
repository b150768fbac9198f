//! A way to a server that can be blocked: what has arrived stays open, and nothing passes any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use db_testkit::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::Config;

/// Passes bytes between clients and a server, unless it is closed.
pub(crate) struct Gateway {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Gateway {
    pub(crate) async fn to(database: &TestDatabase) -> Self {
        let server = ("127.0.0.1", database.config().get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_open = watch::Sender::new(true);
        let connections = Arc::new(AtomicUsize::new(0));
        let (gate, count) = (is_open.subscribe(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gate, count) = (gate.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    let server = TcpStream::connect(server).await.expect("the server");
                    let ((client_in, client_out), (server_in, server_out)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(client_in, server_out, gate.clone()) => {}
                        () = pass(server_in, client_out, gate) => {}
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, is_open, connections }
    }

    /// The database as it is seen through here.
    pub(crate) fn target(&self, database: &TestDatabase) -> Config {
        let given = database.config();
        let mut target = Config::new();
        target.host("127.0.0.1").port(self.address.port()).dbname(database.name());
        target.user(given.get_user().expect("a user")).password(given.get_password().expect("a password"));
        target
    }

    /// Lets nothing pass from now on, or everything again.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.send_replace(is_open);
    }

    /// Connections that clients hold to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Passes bytes in one direction until an end is closed, which is noticed also while nothing passes.
async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut gate: watch::Receiver<bool>,
) {
    let (mut bytes, mut held) = ([0; 4096], Vec::new());
    loop {
        if *gate.borrow_and_update() && !held.is_empty() {
            if to.write_all(&held).await.is_err() {
                return;
            }
            held.clear();
        }
        tokio::select! {
            read = from.read(&mut bytes) => match read {
                Ok(length @ 1..) => held.extend_from_slice(&bytes[..length]),
                _ => return,
            },
            changed = gate.changed() => if changed.is_err() { return },
        }
    }
}
