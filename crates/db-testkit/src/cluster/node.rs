//! One server of a cluster: its name, and what it says of its leader.

use std::fmt::Display;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::questions::{PATIENCE, ask, comes_true, set};
use crate::{Error, TestServer};

/// A server of a cluster.
#[derive(Debug)]
pub struct Node {
    pub(super) name: String,
    pub(super) server: TestServer,
    pub(super) is_frozen: bool,
}

impl Node {
    pub(super) fn new(number: usize, server: TestServer) -> Self {
        Self { name: name(number), server, is_frozen: false }
    }

    /// Its name: `node-0`, and so on. It is its `cluster_name`, and what its leader knows it by (`application_name`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a superuser. It stays the same, whatever becomes of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// The same as the driver's configuration.
    ///
    /// # Panics
    /// Never: the URL was parsed before.
    #[must_use]
    pub fn config(&self) -> Config {
        #[expect(clippy::unwrap_used, reason = "it was connected to when the cluster was started")]
        self.url().parse().unwrap()
    }

    pub(super) async fn thaw(&mut self) -> Result<(), Error> {
        if self.is_frozen {
            self.server.thaw().await?;
            self.is_frozen = false;
        }
        Ok(())
    }

    /// Turns a standby that runs to another leader. `false` if it does not come to stream from it, as when it has replayed
    /// what the leader never had.
    pub(super) async fn turns_to(&self, leader: &Self) -> bool {
        /// A standby looks for its leader again every 100 ms.
        const SOON: Duration = Duration::from_secs(5);

        let turned = async {
            // As db-embedded has written it in the first place.
            let query = format!("application_name={}&sslmode=disable&gssencmode=disable", self.name);
            let separator = if leader.url().contains('?') { '&' } else { '?' };
            set(self.url(), "primary_conninfo", &format!("{}{separator}{query}", leader.url())).await?;
            self.streams_from(leader, SOON).await
        };
        let is_standby = ask(self.url(), "SELECT pg_is_in_recovery()", PATIENCE).await;
        is_standby.unwrap_or(false) && turned.await.is_ok()
    }

    /// Waits until it streams from this leader, on the leader's timeline, and the leader says so too.
    pub(super) async fn streams_from(&self, leader: &Self, patience: Duration) -> Result<(), Error> {
        let (host, port) = leader.address();
        let timeline =
            "SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END";
        let timeline: Option<i32> = ask(leader.url(), timeline, PATIENCE).await?;
        // A leader that is a standby itself and has lost its own leader passes on what it has.
        let timeline = timeline.map_or_else(String::new, |number| format!("AND received_tli = {number}"));
        let receives = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'
                AND sender_host = '{host}' AND sender_port = {port} {timeline})"
        );
        let what = format!("{} streams from {}", self.name, leader.name);
        comes_true(self.url(), &what, &receives, patience).await?;
        let sends = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_replication
                WHERE application_name = '{}' AND state = 'streaming')",
            self.name
        );
        comes_true(leader.url(), &what, &sends, patience).await
    }

    fn address(&self) -> (String, u16) {
        let config = self.config();
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            _ => String::new(),
        };
        (host, config.get_ports().first().copied().unwrap_or(5432))
    }
}

/// What a node is called.
pub(super) fn name(number: impl Display) -> String {
    format!("node-{number}")
}
