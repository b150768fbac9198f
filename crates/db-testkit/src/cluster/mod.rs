//! A cluster of real servers, whose faults are made on purpose. Its roles are what the servers say: nothing here remembers
//! who is primary, and nothing decides who shall be.

mod node;
pub(crate) mod questions;

use std::mem;
use std::time::Duration;

use db_embedded::{Search, Settings};
use futures_util::future::try_join_all;
use tokio::time::timeout;

pub use node::Node;

#[cfg(feature = "docker")]
use crate::docker::{Member, Network};
use crate::{Backend, Error, TestServer, processes};
use node::name;
use questions::{ANSWER, PATIENCE, ask, comes_true, set, tell};

/// A primary and its streaming replicas, on binaries of this machine or in containers. Dropping it ends all of them at once, waits
/// for that, and removes their data.
///
/// Nodes are named by their number: node 0 is the primary at first, all others follow it. What a method does to one node it
/// does to no other: after a promotion the others follow whom they followed, until [`follow`](Self::follow), and whoever was
/// primary before is one still.
///
/// ```no_run
/// use db_testkit::{Backend, TestCluster};
///
/// # async fn example() -> Result<(), db_testkit::Error> {
/// let mut cluster = TestCluster::start(&Backend::local(std::env::var_os("PATH")), 2).await?;
/// cluster.halt_at_once(0).await?;
/// cluster.promote(1).await?;
/// cluster.follow(2, 1).await?;
/// cluster.resume(0).await?; // two primaries now, on two timelines
/// cluster.follow(0, 1).await?;
/// cluster.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Every method that takes the number of a node panics when there is none, as indexing does.
///
/// # Limits
/// - Containers are reached under addresses of their own, in a network of their own: the engine runs on this machine, on Linux.
/// - The port of a local server that is halted refuses; the address of a container that is halted is nobody's, and who connects
///   without a limit of time waits for seconds or minutes.
/// - When the process is killed, local servers end with it. Containers and networks stay until the next cluster is started on
///   this machine; they have the label `db-test.lock`, for whoever removes them by hand.
/// - Replicas find 1 GB of log at their leader, when they come back late. No slots are used.
/// - `wal_sender_timeout` and `wal_receiver_timeout` are PostgreSQL's own, 60 s: for so long a frozen server counts as
///   connected. An idle primary sends a sign of life every 30 s.
#[derive(Debug)]
pub struct TestCluster {
    nodes: Vec<Node>,
}

impl TestCluster {
    /// Starts a primary and so many replicas, and waits until they stream.
    ///
    /// # Errors
    /// On a given server, and when a server does not start; the error says why.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(backend: &Backend, replicas: usize) -> Result<Self, Error> {
        match backend {
            Backend::Url(_) => Err(Error::Given),
            #[cfg(feature = "docker")]
            Backend::Docker(image) => Self::docker(image, replicas).await,
            Backend::Local(search) => Self::local(search, replicas).await,
        }
    }

    /// The nodes, by their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    #[must_use]
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Ends all nodes and waits until they are gone.
    ///
    /// # Errors
    /// When one does not stop.
    ///
    /// # Cancel safety
    /// Dropped midway, they stop in the background.
    pub async fn stop(mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            node.thaw().await?;
        }
        try_join_all(mem::take(&mut self.nodes).into_iter().map(|node| node.server.stop())).await?;
        Ok(())
    }

    /// Takes a node away, in an orderly way: a primary first sends all it has to the replicas that are connected. One of them
    /// that is frozen holds it up for 10 s, after which it ends at once.
    ///
    /// # Errors
    /// When it does not stop.
    ///
    /// # Cancel safety
    /// Dropped midway, it has been told to stop; `halt` again to wait for it.
    pub async fn halt(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].thaw().await?;
        self.nodes[node].server.halt().await
    }

    /// Takes a node away as a crash does: see [`TestServer::halt_at_once`].
    ///
    /// # Errors
    /// When it does not stop.
    ///
    /// # Cancel safety
    /// As [`halt`](Self::halt).
    pub async fn halt_at_once(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].thaw().await?;
        self.nodes[node].server.halt_at_once().await
    }

    /// Brings a node back as it was and under the same address: who was primary is primary again, on its old timeline; a
    /// standby looks for the leader it had.
    ///
    /// # Errors
    /// When it does not start.
    ///
    /// # Cancel safety
    /// Dropped midway, it stops what it has started; `resume` again.
    pub async fn resume(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].thaw().await?;
        self.nodes[node].server.resume().await
    }

    /// Stops all processes of a node in their tracks, until [`thaw`](Self::thaw): it takes connections and never answers.
    ///
    /// # Errors
    /// When its processes are not found.
    pub async fn freeze(&mut self, node: usize) -> Result<(), Error> {
        let node = &mut self.nodes[node];
        // Set first: half of its processes may be stopped when this fails.
        node.is_frozen = true;
        node.server.freeze().await
    }

    /// Lets a frozen node go on, as if no time had passed. Does nothing if it is not frozen.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub async fn thaw(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].thaw().await
    }

    /// Cuts a node off from everybody, tests and other nodes, until [`heal`](Self::heal): every packet from it and to it is lost.
    /// All connections stay open, and who connects without a limit of time waits for seconds or minutes. Halted and resumed, it is
    /// cut off still.
    ///
    /// # Errors
    /// On local servers, which share the loopback.
    ///
    /// # Cancel safety
    /// Dropped midway, it is cut off all the same, in a moment.
    pub async fn partition(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].server.partition().await
    }

    /// Has packets flow again, under the same address; connections go on when their ends try again. Does nothing if the node is
    /// not cut off.
    ///
    /// # Errors
    /// When the engine refuses.
    ///
    /// # Cancel safety
    /// Dropped midway, it is healed all the same, in a moment.
    pub async fn heal(&mut self, node: usize) -> Result<(), Error> {
        self.nodes[node].server.heal().await
    }

    /// Makes a standby a primary, on a new timeline, and waits until it is one.
    ///
    /// # Errors
    /// When it is a primary already, cannot be reached, or is not promoted in time.
    ///
    /// # Cancel safety
    /// Dropped midway, it may be promoted all the same.
    pub async fn promote(&self, node: usize) -> Result<(), Error> {
        let Node { name, server, .. } = &self.nodes[node];
        let question = format!("SELECT pg_promote(true, {})", PATIENCE.as_secs());
        let _in_time: bool = ask(server.url(), &question, 2 * PATIENCE).await?;
        let what = format!("{name} is a primary");
        comes_true(server.url(), &what, "SELECT NOT pg_is_in_recovery()", ANSWER).await
    }

    /// Makes a node a streaming standby of `leader`, and waits until it streams. A node that is frozen or cut off is so no more.
    ///
    /// A standby that runs is told its new leader, and goes on where it was. Any other node, and a standby that does not come
    /// to stream in 5 s (its timeline has parted from the leader's), is made anew as a copy of the leader, as it would be in
    /// production without `pg_rewind`; what only it had is lost, and so is its [`lag`](Self::lag).
    ///
    /// # Errors
    /// When the leader cannot be copied or the node does not come to stream. It may be halted then.
    ///
    /// # Cancel safety
    /// Dropped midway, the node is halted, or follows its old leader or the new one; `follow` again.
    ///
    /// # Panics
    /// When a node is to follow itself.
    pub async fn follow(&mut self, node: usize, leader: usize) -> Result<(), Error> {
        let Ok([node, leader]) = self.nodes.get_disjoint_mut([node, leader]) else {
            panic!("a node follows another of its cluster")
        };
        node.thaw().await?;
        node.server.heal().await?;
        if node.turns_to(leader).await {
            return Ok(());
        }
        let what = || format!("{} is a copy of {}", node.name, leader.name);
        let copied = timeout(2 * PATIENCE, node.server.follow(&leader.server, &node.name)).await;
        copied.map_err(|_| Error::Late {
            what: what(),
            waited: 2 * PATIENCE,
            answer: "none".to_owned(),
        })??;
        node.streams_from(leader, PATIENCE).await
    }

    /// Has a standby replay each commit so long after it was made on the primary. Zero ends that.
    ///
    /// It holds for what is committed from now on, and is kept by a restart. What is delayed is received all the same.
    ///
    /// # Errors
    /// When the node cannot be reached.
    ///
    /// # Cancel safety
    /// Dropped midway, it may be in force or not.
    pub async fn lag(&self, node: usize, delay: Duration) -> Result<(), Error> {
        set(self.nodes[node].url(), "recovery_min_apply_delay", &delay.as_millis().to_string()).await
    }

    /// Has commits on `primary` wait until so many of the other nodes, whichever, have written them to disk. Zero ends that,
    /// also for those that wait.
    ///
    /// # Errors
    /// When the node cannot be reached.
    ///
    /// # Cancel safety
    /// As [`lag`](Self::lag).
    pub async fn synchronous(&self, primary: usize, count: usize) -> Result<(), Error> {
        let others = self.nodes.iter().enumerate().filter(|(number, _)| *number != primary);
        let others: Vec<_> = others.map(|(_, node)| format!("\"{}\"", node.name)).collect();
        let value = if count == 0 { String::new() } else { format!("ANY {count} ({})", others.join(", ")) };
        let url = self.nodes[primary].url();
        set(url, "synchronous_standby_names", &value).await?;
        // It is the checkpointer that tells the sessions, and it looks at its signals before each checkpoint.
        tell(url, "CHECKPOINT").await
    }

    /// Waits until a node has replayed what `leader` has written by now.
    ///
    /// # Errors
    /// When it has not in time, which is 30 s, or the leader cannot be reached.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn caught_up(&self, node: usize, leader: usize) -> Result<(), Error> {
        let (node, leader) = (&self.nodes[node], &self.nodes[leader]);
        let what = format!("{} has replayed what {} has written", node.name, leader.name);
        questions::caught_up(node.url(), leader.url(), &what).await
    }

    async fn local(search: &Search, replicas: usize) -> Result<Self, Error> {
        let changed = |settings: Settings, name: &str| {
            let parameters = parameters(name).into_iter();
            parameters.fold(settings, |settings, (name, value)| settings.parameter(name, value))
        };
        let primary = TestServer::local(search, |settings| changed(settings, &name(0))).await?;
        let standby = |number| {
            let (primary, name) = (&primary, name(number));
            TestServer::local(search, move |settings| primary.lead(changed(settings, &name), &name))
        };
        let standbys = try_join_all((1..=replicas).map(standby)).await?;
        Self::of(std::iter::once(primary).chain(standbys)).await
    }

    #[cfg(feature = "docker")]
    async fn docker(image: &str, replicas: usize) -> Result<Self, Error> {
        let network = Network::create().await?;
        let start = async |number: u32, leader| {
            let name = name(number);
            Member::start(&network, image, (number, &name), &parameters(&name), leader).await
        };
        let primary = start(0, None).await?;
        let standbys = try_join_all((1..).take(replicas).map(|number| start(number, Some(&primary)))).await?;
        let members = std::iter::once(primary).chain(standbys);
        Self::of(try_join_all(members.map(TestServer::member)).await?).await
    }

    /// Of servers that serve, by their numbers.
    async fn of(servers: impl IntoIterator<Item = TestServer>) -> Result<Self, Error> {
        let nodes = servers.into_iter().enumerate().map(|(number, server)| Node::new(number, server));
        let this = Self { nodes: nodes.collect() };
        for standby in &this.nodes[1..] {
            standby.streams_from(&this.nodes[0], PATIENCE).await?;
        }
        Ok(this)
    }
}

/// A process that stands still does not see that it is to end, and one that still writes keeps its folder from being removed.
impl Drop for TestCluster {
    fn drop(&mut self) {
        let processes: Vec<u32> = self.nodes.iter().filter_map(|node| node.server.postmaster()).collect();
        processes::end_at_once(&processes);
    }
}

/// What differs from other test servers. Given at the start, it goes before what a test sets by `ALTER SYSTEM`.
fn parameters(name: &str) -> [(&str, &str); 4] {
    [
        ("cluster_name", name),
        // A copy takes two.
        ("max_wal_senders", "32"),
        ("wal_keep_size", "1GB"),
        // A replica looks for a leader that is gone as often; the default is 5 s.
        ("wal_retrieve_retry_interval", "100ms"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_to_a_cluster_can_be_spawned() {
        fn check<T: Send>(_: T) {}
        check(TestCluster::start(&Backend::local(None), 2));
        let follow: fn(&mut TestCluster) = |cluster| check(cluster.follow(0, 1));
        let wait: fn(&TestCluster) = |cluster| check(cluster.caught_up(0, 1));
        let stop: fn(TestCluster) = |cluster| check(cluster.stop());
        let _ = (follow, wait, stop);
    }
}
