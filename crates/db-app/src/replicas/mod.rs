//! The servers of a database with replicas, put together for routing. Each has a pool for reads that opens when it is needed, so
//! that a replica that is down does not keep the service from starting; one pool for writes turns to whichever is the primary.

mod server;
mod write_pool;

use std::sync::Arc;
use std::time::Duration;

use db_cluster::{Cluster, EndpointStats, Preference, Read, Reason, Standing};
use db_core::{Cause, Error, Finding, Observer, Phase, Result, Signal};
use db_health::{Check, FnProbe};
use db_pool::{Pool, Settings, Stats, StillInUse, Target};
use futures_util::future::join_all;
use serde_json::json;

use self::write_pool::WritePool;
use crate::config::{Member, ReplicaConfig, members};

pub(crate) use self::server::Server;

/// A database with its replicas.
pub(crate) struct Replicas {
    cluster: Cluster<Server>,
    members: Vec<Member>,
    pools: Vec<Server>,
    writes: Arc<WritePool>,
    /// Where reads go unless their caller says so himself.
    preference: Preference,
}

impl Replicas {
    /// Looks at all servers; `None` if there is only one.
    pub(crate) async fn start(
        given: &Target,
        config: &ReplicaConfig,
        observer: &Arc<dyn Observer>,
    ) -> Result<Option<Self>> {
        let members = members(given, &config.targets);
        if members.len() < 2 {
            return Ok(None);
        }
        let targets = members.iter().map(|member| member.write.clone()).collect();
        let writes = Arc::new(WritePool::new(targets));
        let (mut builder, mut pools) = (Cluster::builder(), Vec::new());
        for (number, Member { read, .. }) in members.iter().enumerate() {
            let looks = Server::for_looks(number, read, &config.pool);
            let server = Server::for_reads(number, read, &config.pool, observer, &writes);
            builder = builder.endpoint_watched_over(read.endpoint(), server.clone(), looks.clone());
            pools.extend([server, looks]);
        }
        let mut settings = db_cluster::Settings::default();
        settings.max_lag = config.max_lag;
        settings.token_validity = config.token_validity();
        // Who is far away has more time to connect, and needs more to answer.
        settings.look_timeout = settings.look_timeout.max(config.pool.connect_timeout / 4);
        let cluster = builder.settings(settings).observer(Arc::clone(observer)).start().await?;
        let preference = if config.targets.is_empty() { Preference::Primary } else { Preference::default() };
        Ok(Some(Self { cluster, members, pools, writes, preference }))
    }

    /// Opens the pool for writes at the primary.
    ///
    /// # Errors
    /// As [`Pool::open`]; and when only a server that may be no replica at all takes writes.
    pub(crate) async fn open_writes(
        &self,
        settings: &Settings,
        observer: &Arc<dyn Observer>,
    ) -> Result<Pool> {
        self.check_primary()?;
        self.writes.open(settings, observer).await.map_err(|error| match self.writes.at() {
            Some(_) => error,
            None => {
                let one = |stats: &EndpointStats| format!("{} {}", stats.name, stats.standing);
                let all: Vec<_> = self.cluster.stats().iter().map(one).collect();
                error.context(format_args!("no primary ({})", all.join(", ")))
            }
        })
    }

    /// A server that was never promoted is no replica. What tells so otherwise is that it is of the same cluster as that of
    /// `DATABASE_URL`, which was not seen yet.
    fn check_primary(&self) -> Result<()> {
        let stats = self.cluster.stats();
        let mut given = stats.iter().zip(&self.members).filter(|(_, member)| member.is_given);
        let primary = self.writes.at().map(|at| (&stats[at], &self.members[at]));
        let Some((primary, _)) = primary.filter(|(_, member)| !member.is_given) else { return Ok(()) };
        if primary.timeline != Some(1) || given.any(|(stats, _)| stats.lsn.is_some()) {
            return Ok(());
        }
        let first = stats.first().and_then(|stats| stats.error.as_deref()).unwrap_or("no answer");
        let message = format!(
            "{} of DATABASE_REPLICA_URL takes writes and was never promoted: whether it is a replica cannot be told without the \
             server of DATABASE_URL ({first})",
            primary.name
        );
        Err(Error::new(Signal::new(Cause::Unreachable, Phase::Connect), message))
    }

    /// The same way, but to the primary of the moment if it leads to another one of these servers.
    pub(crate) fn to_primary(&self, way: Target) -> Target {
        let is_member = self.members.iter().any(|member| member.write.endpoint() == way.endpoint());
        match self.writes.at().filter(|_| is_member) {
            Some(at) => way.at_servers_of(&self.members[at].write),
            None => way,
        }
    }

    pub(crate) fn read(&self) -> Read<'_, Server> {
        self.cluster.read().preference(self.preference)
    }

    pub(crate) fn stats(&self) -> Vec<EndpointStats> {
        self.cluster.stats()
    }

    /// The figures of the pools for reads that are open.
    pub(crate) fn read_pools(&self) -> Vec<Stats> {
        self.pools.iter().filter_map(Server::stats).collect()
    }

    pub(crate) fn cluster(&self) -> &Cluster<Server> {
        &self.cluster
    }

    /// How the servers are. One that is out of use is degraded: the others serve.
    pub(crate) fn check(&self) -> Check {
        let cluster = self.cluster.clone();
        let look = move || {
            let all = cluster.stats();
            let second_way = Standing::Out(Reason::SameServer);
            let is_out =
                |stats: &EndpointStats| stats.standing.reason().is_some() && stats.standing != second_way;
            let finding = match all.iter().find(|stats| is_out(stats)) {
                Some(out) => Finding::degraded(out.standing.reason().unwrap_or_default()),
                None => Finding::healthy(),
            };
            all.iter().fold(finding, |finding, stats| finding.with(&stats.name, json!(stats)))
        };
        Check::new(FnProbe::new("replicas", look)).non_critical().internal()
    }

    /// Closes the pools for reads; the one for writes is the database's own.
    pub(crate) async fn close(&self, limit: Duration) -> Result<(), StillInUse> {
        self.cluster.stop_looking();
        let closed = join_all(self.pools.iter().map(|server| server.close(limit))).await;
        closed.into_iter().collect()
    }
}
