//! What Patroni and etcd are told at their start, as text. Writes nothing.

use std::path::Path;

use super::Replication;

/// The name of the cluster.
pub(super) const SCOPE: &str = "demo";

/// After how many seconds a leader that is silent is replaced. Newer versions of Patroni take no less than 20.
pub(super) const TTL: u32 = 20;

/// How often, in seconds, each Patroni looks at its server. Newer versions take no less than 1.
pub(super) const LOOP_WAIT: u32 = 1;

/// How long, in seconds, a leader goes on when etcd does not answer. Newer versions take no less than 3.
const RETRY_TIMEOUT: u32 = 3;

/// What a member's file says.
#[derive(Debug)]
pub(super) struct File<'f> {
    pub(super) name: &'f str,
    pub(super) replication: Replication,
    /// Of etcd, of the member's REST interface, and of its PostgreSQL.
    pub(super) ports: [u16; 3],
    /// Of the superuser and of the role that replicates.
    pub(super) password: &'f str,
    /// The folder of PostgreSQL's programs.
    pub(super) programs: &'f Path,
    /// The member's own.
    pub(super) folder: &'f Path,
}

impl File<'_> {
    /// In YAML. What is put in holds no quotes.
    pub(super) fn text(&self) -> String {
        let Self { name, replication, ports: [etcd, rest, port], password, .. } = self;
        let is_synchronous = *replication == Replication::Synchronous;
        let (programs, folder) = (self.programs.display(), self.folder.display());
        format!(
            "scope: {SCOPE}
name: {name}
restapi:
  listen: 127.0.0.1:{rest}
  connect_address: 127.0.0.1:{rest}
etcd3:
  host: 127.0.0.1:{etcd}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: {LOOP_WAIT}
    retry_timeout: {RETRY_TIMEOUT}
    synchronous_mode: {is_synchronous}
    postgresql:
      use_pg_rewind: true
      parameters:
        # What processes have written outlives them, and the folder does not outlive the machine.
        fsync: 'off'
        wal_retrieve_retry_interval: 100ms
  initdb:
  - encoding: UTF8
  - data-checksums
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  bin_dir: '{programs}'
  data_dir: '{folder}/data'
  pgpass: '{folder}/pgpass'
  basebackup:
  # Otherwise a copy waits for a checkpoint that takes its time.
  - checkpoint: fast
  parameters:
    unix_socket_directories: ''
    logging_collector: 'off'
  pg_hba:
  - host replication replicator 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
  authentication:
    superuser:
      username: postgres
      password: '{password}'
    replication:
      username: replicator
      password: '{password}'
"
        )
    }
}

/// What a single etcd is told.
pub(super) fn etcd(folder: &Path, clients: u16, peers: u16) -> Vec<String> {
    let (clients, peers) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
    let arguments = [
        ("--name", "etcd".to_owned()),
        ("--data-dir", folder.display().to_string()),
        ("--listen-client-urls", clients.clone()),
        ("--advertise-client-urls", clients),
        ("--listen-peer-urls", peers.clone()),
        ("--initial-advertise-peer-urls", peers.clone()),
        ("--initial-cluster", format!("etcd={peers}")),
    ];
    arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_as_asked_for() {
        let check = |replication, expect: &str| {
            let (programs, folder) = (Path::new("/bin"), Path::new("/tmp/x"));
            let file =
                File { name: "node-0", replication, ports: [1, 2, 3], password: "secret", programs, folder };
            let text = file.text();
            assert!(text.lines().any(|line| line == expect), "{text}");
            assert!(text.contains("listen: 127.0.0.1:3\n") && text.contains("'/tmp/x/data'"), "{text}");
        };
        check(Replication::Synchronous, "    synchronous_mode: true");
        check(Replication::Asynchronous, "    synchronous_mode: false");
    }
}
