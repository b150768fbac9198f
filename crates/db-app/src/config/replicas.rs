//! What the environment says of replicas: where they are, how many connections each may have, and how late it may be.

use std::collections::HashSet;
use std::time::Duration;

use db_pool::{Settings, Target, TargetSession};

use super::layers::Raw;
use super::postgres::hidden;
use super::read::{Reader, from, variable};
use super::{Environment, Preset, Source};

/// The replicas that take reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplicaConfig {
    /// Where they are; with none, everything goes to the one server.
    pub targets: Vec<Target>,
    /// The pool of each.
    pub pool: Settings,
    /// One that is further behind takes no reads.
    pub max_lag: Duration,
}

/// A server of which there are several.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// How it is written to while it is the primary: as whoever `DATABASE_URL` names.
    pub(crate) write: Target,
    /// How it is read from.
    pub(crate) read: Target,
    /// Whether `DATABASE_URL` names it.
    pub(crate) is_given: bool,
}

/// All servers: those of `DATABASE_URL`, then the replicas that it does not name. Several servers in it are told apart only if it
/// asks for the one that takes writes; otherwise any of them is as good, and they count as one.
pub(crate) fn members(given: &Target, replicas: &[Target]) -> Vec<Member> {
    let endpoints = |targets: &[Target]| targets.iter().map(Target::endpoint).collect::<Vec<_>>();
    let is_at = |target: &Target| {
        let endpoint = target.endpoint();
        move |other: &Target| other.endpoint() == endpoint
    };
    let mut given_servers = vec![given.clone()];
    if matches!(given.session(), TargetSession::Primary | TargetSession::ReadWrite) {
        let servers = given.each_server();
        let names: HashSet<_> = endpoints(&servers).into_iter().collect();
        // What has no name of its own cannot be told from the others.
        if names.len() == servers.len() {
            given_servers = servers;
        }
    }
    let session = match given.session() {
        TargetSession::ReadWrite => TargetSession::ReadWrite,
        _ => TargetSession::Primary,
    };
    let member = |write: Target, read: &Target, is_given: bool| Member {
        write: write.with_session(session),
        read: read.clone().with_session(TargetSession::Any),
        is_given,
    };
    let named = given_servers.iter().map(|server| {
        let read = replicas.iter().find(|replica| is_at(server)(replica));
        member(server.clone(), read.unwrap_or(server), true)
    });
    let others = replicas.iter().filter(|replica| !given_servers.iter().any(is_at(replica)));
    named.chain(others.map(|replica| member(given.clone().at_servers_of(replica), replica, false))).collect()
}

impl ReplicaConfig {
    /// How long a token counts: until every replica in use has what it stands for.
    pub(crate) fn token_validity(&self) -> Duration {
        db_cluster::Settings::default().token_validity.max(self.max_lag.saturating_mul(2))
    }
}

impl Reader<'_> {
    /// `given` is the primary; `None` when one is to be started, or was not understood.
    pub(super) fn replicas(
        &mut self,
        environment: Environment,
        preset: Preset,
        primary: &Settings,
        is_server_given: bool,
        given: Option<&Target>,
    ) -> ReplicaConfig {
        let targets = self.replica_targets(environment, is_server_given, given);
        let (max, source) = match preset {
            Preset::HighConcurrency => (50, from(false)),
            Preset::Standard | Preset::Patient => (10, from(true)),
        };
        let mut pool = primary.clone();
        pool.name = "replica".to_owned();
        pool.max = self.number("DB_REPLICA_POOL_MAX", max, 1, 10_000, source);
        pool.min = if preset == Preset::HighConcurrency { 10.min(pool.max) } else { 0 };
        let lag = db_cluster::Settings::default().max_lag;
        let max_lag = self.millis("DB_REPLICA_MAX_LAG_MS", lag, 1, Source::Default);
        ReplicaConfig { targets, pool, max_lag }
    }

    fn replica_targets(
        &mut self,
        environment: Environment,
        is_server_given: bool,
        given: Option<&Target>,
    ) -> Vec<Target> {
        let name = "DATABASE_REPLICA_URL";
        let urls = self.find(name);
        let mut found: Vec<Target> = Vec::new();
        for one in urls.iter().flat_map(|urls| urls.value.split_whitespace()) {
            let Some(urls) = &urls else { break };
            if !is_server_given {
                self.warnings.push(format!("{} is ignored, since no server is given", urls.name));
                break;
            }
            let url = Raw { value: one, ..urls.clone() };
            let Some(target) = self.target_beside(environment, &url, given) else { continue };
            for target in target.each_server() {
                let endpoint = target.endpoint();
                let is_known = |known: &Target| known.endpoint() == endpoint;
                if found.iter().any(is_known) {
                    self.errors.push(format!("{name} ({}): {endpoint} is named twice", urls.source));
                } else if given.is_some_and(is_known) {
                    self.errors
                        .push(format!("{name} ({}): {endpoint} is the server of DATABASE_URL", urls.source));
                } else {
                    found.push(target);
                }
            }
        }
        let shown = urls.as_ref().map(|urls| match &*found {
            [] => hidden(urls.value).to_owned(),
            all => all.iter().map(Target::masked).collect::<Vec<_>>().join(" "),
        });
        self.show(variable(name), urls.as_ref(), shown, Source::Default);
        found
    }
}

#[cfg(test)]
mod tests {
    use db_pool::{Roots, TlsMode};

    use super::super::tests::{load, refused, shown};
    use super::*;

    const SERVER: (&str, &str) = ("DATABASE_URL", "postgres://app:first@one:5432/d");

    /// A6, B1: at most 10 connections each, 50 with the preset for many requests.
    #[test]
    fn replicas_have_pools_of_their_own() {
        let config = load(&[SERVER]);
        assert!(config.replicas.targets.is_empty());
        let urls = "postgres://app@two/d  postgres://reader:secret@three:6432/d";
        let config = load(&[SERVER, ("DATABASE_REPLICA_URL", urls)]);
        let endpoints: Vec<_> = config.replicas.targets.iter().map(Target::endpoint).collect();
        assert_eq!(endpoints, ["two:5432", "three:6432"]);
        assert_eq!((config.replicas.pool.min, config.replicas.pool.max), (0, 10));
        assert_eq!(config.replicas.max_lag, Duration::from_secs(10));
        let (value, _) = shown(&config, "DATABASE_REPLICA_URL");
        let masked = value.expect("a value");
        assert!(masked.contains("app:***@two") && !masked.contains("secret"), "{masked}");

        let config = load(&[("DB_PRESET", "high-concurrency"), ("DB_REPLICA_MAX_LAG_MS", "250")]);
        assert_eq!((config.replicas.pool.min, config.replicas.pool.max), (10, 50));
        assert_eq!(config.replicas.max_lag, Duration::from_millis(250));
        assert_eq!(shown(&config, "DB_REPLICA_POOL_MAX"), (Some("50"), Source::Preset));
    }

    /// D12: each server once, written to as the one of `DATABASE_URL`, read from as its own URL says.
    #[test]
    fn each_server_is_a_member_once() {
        let check = |url: &str, replicas: &str, expect: &[(&str, &str)]| {
            let config = load(&[("DATABASE_URL", url), ("DATABASE_REPLICA_URL", replicas)]);
            let super::super::Postgres::Given(given) = &config.postgres else { panic!("a server") };
            let said =
                |target: &Target| format!("{}@{}", target.user().unwrap_or_default(), target.endpoint());
            let found: Vec<_> = members(given, &config.replicas.targets)
                .iter()
                .map(|member| (said(&member.write), said(&member.read)))
                .collect();
            let found: Vec<_> = found.iter().map(|(write, read)| (write.as_str(), read.as_str())).collect();
            assert_eq!(found, expect, "{url} {replicas}");
        };
        let one = ("a@one:5432", "a@one:5432");
        check("postgres://a@one/d", "", &[one]);
        check("postgres://a@one/d", "postgres://b@two/d", &[one, ("a@two:5432", "b@two:5432")]);
        let all = "postgres://a@one,two/d?target_session_attrs=read-write";
        check(all, "", &[one, ("a@two:5432", "a@two:5432")]);
        check(
            all,
            "postgres://b@two,three/d",
            &[one, ("a@two:5432", "b@two:5432"), ("a@three:5432", "b@three:5432")],
        );
        check("postgres://a@one,two/d", "", &[("a@one:5432,two:5432", "a@one:5432,two:5432")]);
        // They cannot be told apart by name.
        let twice = "host=one,one hostaddr=10.0.0.1,10.0.0.2 user=a dbname=d target_session_attrs=primary";
        check(twice, "", &[("a@one:5432,one:5432", "a@one:5432,one:5432")]);
    }

    /// What is written goes the safer of two ways, by our own certificate, to a server of the kind that was asked for.
    #[test]
    fn writes_go_to_a_replica_as_safely_as_to_the_primary() {
        let check = |url: &str, replica: &str, mode: TlsMode, roots: Option<&str>, session: TargetSession| {
            let config = load(&[("DATABASE_URL", url), ("DATABASE_REPLICA_URL", replica)]);
            let super::super::Postgres::Given(given) = &config.postgres else { panic!("a server") };
            let members = members(given, &config.replicas.targets);
            let write = &members.last().expect("a replica").write;
            let tls = write.tls();
            let found = match &tls.roots {
                Roots::File(path) => path.to_str(),
                _ => None,
            };
            assert_eq!((tls.mode, found, write.session()), (mode, roots, session), "{url} {replica}");
            assert_eq!(&tls.certificate, &given.tls().certificate, "{url} {replica}");
        };
        let strict = "postgres://a@one/d?sslmode=verify-full&sslrootcert=/a.pem&sslcert=/a.crt&sslkey=/a.key";
        let loose = "postgres://b@two/d?sslmode=require&sslcert=/b.crt&sslkey=/b.key";
        check(strict, loose, TlsMode::VerifyFull, Some("/a.pem"), TargetSession::Primary);
        let read_write = "postgres://a@one,three/d?sslmode=require&target_session_attrs=read-write";
        let strict = "postgres://b@two/d?sslmode=verify-ca&sslrootcert=/b.pem";
        check(read_write, strict, TlsMode::VerifyCa, Some("/b.pem"), TargetSession::ReadWrite);
    }

    #[test]
    fn replicas_that_cannot_be_used_are_said() {
        let check = |urls: &str, expect: &str| {
            let text = refused(&[SERVER, ("DATABASE_REPLICA_URL", urls)]);
            assert!(text.contains(expect), "{text}");
            assert!(!text.contains("secret"), "{text}");
        };
        check("postgres://app:secret@two:port/d", "DATABASE_REPLICA_URL=postgres://*** (environment): ");
        check("postgres://app:secret@two,three,two/d", "two:5432 is named twice");
        check("postgres://a:secret@two/d postgres://b:secret@two/d", "two:5432 is named twice");
        check("postgres://a:secret@one/d", "one:5432 is the server of DATABASE_URL");
        let config = load(&[("DATABASE_REPLICA_URL", "postgres://a:secret@two/d")]);
        assert_eq!(config.warnings, ["DATABASE_REPLICA_URL is ignored, since no server is given"]);
    }
}
