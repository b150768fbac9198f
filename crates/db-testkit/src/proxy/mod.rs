//! A proxy between clients and a PostgreSQL that breaks the way between them on purpose. This file is what tests hold; the
//! decisions are pure (`frames.rs`, `statements.rs`, `dialogue.rs`, `rules.rs`), `connection.rs` moves the bytes.

mod connection;
mod counts;
mod dialogue;
mod fault;
mod frames;
mod rules;
mod shared;
mod statements;
mod transcript;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::{AbortHandle, JoinSet};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub use counts::Counts;
pub use fault::{Direction, End, Fault, Refusal};
pub use shared::Injected;

use crate::{Error, TestDatabase};
use shared::{Conditions, Shared};

/// A way to a server that can be broken on purpose, message by message. Dropping it ends its connections and its port.
///
/// It sits on the loopback and follows the messages of both sides, so that a fault can be about a COMMIT or the nth request. Nothing else is
/// read, and nothing is ever changed or made up: what passes, passes as it came.
///
/// ```no_run
/// use db_testkit::{Fault, Proxy, TestDatabase};
///
/// # async fn example(database: &TestDatabase) -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = Proxy::to(database).await?;
/// let (client, connection) = proxy.config().connect(tokio_postgres::NoTls).await?;
/// tokio::spawn(connection);
/// client.batch_execute("CREATE TABLE t (n int)").await?;
///
/// let lost = proxy.inject(Fault::lost_acknowledgement().nth(1));
/// assert!(client.batch_execute("BEGIN; INSERT INTO t VALUES (1); COMMIT").await.is_err());
/// assert_eq!(lost.fired(), 1); // and the row is there
/// # Ok(())
/// # }
/// ```
///
/// # Limits
/// - When the server grants encryption, messages cannot be told apart: only faults that count bytes strike there. TLS ends at the client and the server.
/// - Each direction of a connection holds about 1 MiB at most. Above it the sender waits, so that a long delay bounds the
///   throughput as well.
/// - When a client closes, the server's side is closed too, also in a stall: sessions do not pile up behind it. That a
///   server closes is told to the client when it can pass.
/// - After a reset the kernel may throw away what was sent just before. On the loopback that has arrived by then.
pub struct Proxy {
    address: SocketAddr,
    seen_through: Config,
    shared: Arc<Shared>,
    listener: AbortHandle,
}

impl Proxy {
    /// Starts one in front of a test's database. [`config`](Self::config) and [`url`](Self::url) give that database as it
    /// is seen through it.
    ///
    /// # Errors
    /// When the server is reached by a Unix socket, or no port can be had.
    pub async fn to(database: &TestDatabase) -> Result<Self, Error> {
        Self::to_url(database.url()).await
    }

    /// Starts one in front of the server that a connection string names, the first if it names several.
    ///
    /// # Errors
    /// When the string cannot be read, names no host or one that is not found, or no port can be had.
    pub async fn to_url(url: &str) -> Result<Self, Error> {
        let config: Config = url.parse().map_err(|_| Error::Url("it is no connection string".to_owned()))?;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let upstream = match (config.get_hostaddrs().first(), config.get_hosts().first()) {
            (Some(address), _) => address.to_string(),
            (None, Some(Host::Tcp(host))) => host.clone(),
            _ => return Err(Error::Url("a proxy needs a host that is reached by TCP".to_owned())),
        };
        let mut this = Self::start((upstream, port)).await?;
        this.seen_through = seen_from(&config, this.address);
        Ok(this)
    }

    /// Starts one on 127.0.0.1 and a port that is free. The server need not be there yet.
    ///
    /// # Errors
    /// When the server's name is not found, or no port can be had.
    ///
    /// # Panics
    /// Outside of a runtime, as everything of tokio's.
    pub async fn start(upstream: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::listen((Ipv4Addr::LOCALHOST, 0), upstream).await
    }

    /// The same at a given address.
    ///
    /// # Errors
    /// When a name is not found, or the address cannot be had.
    ///
    /// # Panics
    /// Outside of a runtime, as everything of tokio's.
    pub async fn listen(at: impl ToSocketAddrs, upstream: impl ToSocketAddrs) -> Result<Self, Error> {
        let upstream: Arc<[SocketAddr]> =
            tokio::net::lookup_host(upstream).await.map_err(Error::Proxy)?.collect();
        let listener = TcpListener::bind(at).await.map_err(Error::Proxy)?;
        let address = listener.local_addr().map_err(Error::Proxy)?;
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&shared)));
        let seen_through = seen_from(&Config::new(), address);
        Ok(Self { address, seen_through, shared, listener: accepting.abort_handle() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database as it is seen through here: user, password and database are those of what it was started with.
    #[must_use]
    pub fn config(&self) -> Config {
        self.seen_through.clone()
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(&self.seen_through, self.address)
    }

    /// Arms a fault. What passes after this has returned is subject to it.
    ///
    /// Of several that would strike at once the oldest does; all of them count it.
    pub fn inject(&self, fault: Fault) -> Injected {
        self.shared.inject(fault)
    }

    /// Withdraws all faults that were injected.
    pub fn withdraw_all(&self) {
        self.shared.withdraw_all();
    }

    /// Lets everything in one direction come later by this much, from what comes now on. Pieces keep their distances:
    /// this is latency, and no bandwidth.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.set(|conditions| conditions.way_mut(direction).delay = by);
    }

    /// Lets nothing pass any more, in neither direction, while all sockets stay open. New connections are accepted, and
    /// stalled as well.
    pub fn stall(&self) {
        self.set(|conditions| {
            (conditions.to_server.is_stalled, conditions.to_client.is_stalled) = (true, true);
        });
    }

    /// Lets nothing pass in one direction.
    pub fn stall_one(&self, direction: Direction) {
        self.set(|conditions| conditions.way_mut(direction).is_stalled = true);
    }

    /// Ends stalls, delays and the refusal. What was held passes now. Injected faults stay.
    pub fn heal(&self) {
        self.set(|conditions| {
            *conditions = Conditions { epoch: conditions.epoch, ..Conditions::default() };
        });
    }

    /// Loses what is held, and the connections that are there with it: nothing of theirs passes ever again, and neither
    /// side is told. As when a machine is switched off, or a firewall forgets.
    pub fn forget(&self) {
        self.set(|conditions| conditions.epoch.losses += 1);
    }

    /// Resets all connections that are there, on both sides, silent ones included.
    pub fn cut(&self) {
        self.set(|conditions| conditions.epoch.cuts += 1);
    }

    /// Serves no new connections. Those that are there go on.
    pub fn refuse(&self, how: Refusal) {
        self.set(|conditions| conditions.refusal = Some(how));
    }

    /// Keeps what the clients of later connections ask for, see [`requests`](Self::requests).
    pub fn record(&self) {
        self.shared.is_recording.store(true, Ordering::Release);
    }

    /// The requests since [`record`](Self::record) in the order in which they came, as text: the SQL, with `prepare: ` in
    /// front where a statement is only prepared. The nth of them is the one that [`Fault::lost_request`] and
    /// [`Fault::lost_answer`] strike with `nth(n)`, where requests do not overtake each other.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.texts()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.tally.counts()
    }

    /// Waits until its counts fulfil a condition, and gives them. Waits for ever if they do not: bound it by a time-out.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped.
    pub async fn until(&self, condition: impl Fn(&Counts) -> bool) -> Counts {
        self.shared.tally.until(|| Some(self.counts()).filter(&condition)).await
    }

    fn set(&self, change: impl FnOnce(&mut Conditions)) {
        self.shared.conditions.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are this task's, and go with it.
        self.listener.abort();
    }
}

/// Without the password.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// How long to wait after a failure to accept, for which files that ran out are the only likely cause.
const PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, upstream: Arc<[SocketAddr]>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let (upstream, shared) = (Arc::clone(&upstream), Arc::clone(&shared));
                    connections.spawn(async move { connection::serve(client, &upstream, &shared).await });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The same database at another address.
fn seen_from(given: &Config, address: SocketAddr) -> Config {
    let mut config = Config::new();
    config.host(address.ip().to_string()).port(address.port()).ssl_mode(given.get_ssl_mode());
    if let Some(user) = given.get_user() {
        config.user(user);
    }
    if let Some(password) = given.get_password() {
        config.password(password);
    }
    if let Some(database) = given.get_dbname() {
        config.dbname(database);
    }
    config
}

fn url_of(config: &Config, address: SocketAddr) -> String {
    let mut url = "postgres://".to_owned();
    if let Some(user) = config.get_user() {
        url += &escaped(user.as_bytes());
        if let Some(password) = config.get_password() {
            url.push(':');
            url += &escaped(password);
        }
        url.push('@');
    }
    url += &address.to_string();
    if let Some(database) = config.get_dbname() {
        url.push('/');
        url += &escaped(database.as_bytes());
    }
    url
}

fn escaped(text: &[u8]) -> String {
    let mut escaped = String::new();
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_as_seen_through_a_proxy() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 99));
        let check = |given: &str, expect: &str| {
            let config = seen_from(&given.parse().expect("valid"), address);
            assert_eq!(url_of(&config, address), expect);
            assert_eq!(expect.parse::<Config>().expect("valid"), config, "{given}");
        };
        check("postgres://a:b@h:1/d", "postgres://a:b@127.0.0.1:99/d");
        check("postgres://a:p%40%2Fss@h,i/d?application_name=x", "postgres://a:p%40%2Fss@127.0.0.1:99/d");
        check("host=h user=a", "postgres://a@127.0.0.1:99");
        check("host=h", "postgres://127.0.0.1:99");
    }
}
