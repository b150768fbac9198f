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
    state: watch::Sender<State>,
    counts: Arc<Counts>,
}

#[derive(Clone, Copy)]
struct State {
    is_open: bool,
    /// Connections of an earlier one are dead: nothing of theirs passes ever again.
    era: u32,
}

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    accepted: AtomicUsize,
    requests: AtomicUsize,
}

impl Gateway {
    pub(crate) async fn to(database: &TestDatabase) -> Self {
        let server = ("127.0.0.1", database.config().get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = watch::Sender::new(State { is_open: true, era: 0 });
        let counts = Arc::<Counts>::default();
        let (gate, all) = (state.subscribe(), Arc::clone(&counts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gate, counts) = (gate.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    counts.accepted.fetch_add(1, Ordering::SeqCst);
                    counts.open.fetch_add(1, Ordering::SeqCst);
                    let server = TcpStream::connect(server).await.expect("the server");
                    let ((client_in, client_out), (server_in, server_out)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(client_in, server_out, gate.clone(), Some(&counts.requests)) => {}
                        () = pass(server_in, client_out, gate, None) => {}
                    }
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state, counts }
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
        self.state.send_modify(|state| state.is_open = is_open);
    }

    /// Loses what has not passed, and the connections that are there with it; neither end is told.
    pub(crate) fn forget(&self) {
        self.state.send_modify(|state| state.era += 1);
    }

    /// Connections that clients hold to it.
    pub(crate) fn connections(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Connections that clients have ever made to it.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Pieces of data that clients have sent: about one a request.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

/// Passes bytes in one direction until an end is closed, which is noticed also while nothing passes.
async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut gate: watch::Receiver<State>,
    count: Option<&AtomicUsize>,
) {
    let (mut bytes, mut held) = ([0; 4096], Vec::new());
    let born = gate.borrow().era;
    loop {
        let State { is_open, era } = *gate.borrow_and_update();
        if is_open && era == born && !held.is_empty() {
            if to.write_all(&held).await.is_err() {
                return;
            }
            held.clear();
        }
        tokio::select! {
            read = from.read(&mut bytes) => match read {
                Ok(length @ 1..) => {
                    if let Some(count) = count {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    held.extend_from_slice(&bytes[..length]);
                }
                _ => return,
            },
            changed = gate.changed() => if changed.is_err() { return },
        }
    }
}
