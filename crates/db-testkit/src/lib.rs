//! A real PostgreSQL for tests: found or started on its own, a fresh database for each test, a server of its own for each
//! fault, and a proxy that breaks the way to it.
//!
//! ```no_run
//! use db_testkit::{Backend, TestServer};
//!
//! # async fn example() -> Result<(), db_testkit::Error> {
//! let server = TestServer::start(&Backend::local(std::env::var_os("PATH"))).await?;
//! println!("running on {}", server.origin());
//!
//! let database = server.database().await?;
//! let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await?;
//! tokio::spawn(connection);
//! client.batch_execute("CREATE TABLE t (id int)").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - A [`Backend`] says where servers come from. [`Backend::find`] walks the ladder: given URL, container, local
//!   binaries.
//! - A [`TestServer`] goes with everything in it when it is dropped, also by a panic. When the process is killed, a local
//!   server ends all the same, and its folder is removed by the next run; a container is removed on SIGINT and SIGTERM,
//!   and stays on SIGKILL; containers of a cluster stay until the next one starts, or [`Backend::remove_left_overs`].
//! - A [`TestDatabase`] is empty, nobody else's, and gone when it is dropped.
//! - A [`Proxy`] stands between clients and a server and breaks the way on purpose. What holds for all connections is
//!   set on it: [`stall`](Proxy::stall), [`delay`](Proxy::delay), [`refuse`](Proxy::refuse), [`cut`](Proxy::cut),
//!   [`forget`](Proxy::forget), and [`heal`](Proxy::heal) ends it. What waits for something to pass is a [`Fault`]: a lost
//!   COMMIT, a lost acknowledgement, a cut after so many bytes. Tests wait for its [`Counts`] and never for time.
//! - [`TestServer::halt`] and [`TestServer::resume`] take a server away and bring it back under the same address;
//!   [`TestServer::halt_at_once`] does so as a crash would, [`TestServer::freeze`] lets it fall silent.
//! - A [`TestCluster`] is a primary with streaming replicas, each a server of its own. They can be killed, frozen, promoted,
//!   delayed, made to follow one another, and waited for; an old primary comes back as what it was. In containers each can be
//!   cut off from all others.
//! - [`Patroni`] is a cluster that decides for itself who is primary. It needs `patroni` and `etcd` on this machine.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `docker` | no | [`Backend::Docker`], by `testcontainers` |

mod backend;
mod cluster;
mod database;
mod error;
mod patroni;
mod processes;
mod proxy;
mod server;

#[cfg(feature = "docker")]
mod docker;

pub use backend::Backend;
pub use cluster::{Node, TestCluster};
pub use database::TestDatabase;
pub use error::Error;
pub use patroni::{Member, Patroni, Replication};
pub use proxy::{Counts, Direction, End, Fault, Injected, Proxy, Refusal};
pub use server::TestServer;
