//! A cluster of real servers that Patroni looks after: who is primary is decided by it, and never here. What is done to the
//! servers is what people and failures do: a switchover is asked for, a member is killed, it comes back.

mod files;
mod guarded;
mod member;
mod programs;
mod rest;

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use db_embedded::Search;
use futures_util::future::{join_all, select_ok};
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

pub use member::Member;

use crate::cluster::questions::{ANSWER, caught_up, comes_true, tell};
use crate::server::{PREFIX, remove_left_overs};
use crate::{Backend, Error};
use files::SCOPE;
use guarded::Guarded;
use programs::{Programs, User};

/// Whether a commit waits for a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It waits for one that Patroni has chosen, and only that one may be promoted (`synchronous_mode`). Nothing acknowledged is
    /// lost when the leader is.
    Synchronous,
    /// It does not. What had not arrived is lost with the leader, up to 1 MiB of log (`maximum_lag_on_failover`).
    Asynchronous,
}

/// Three servers under Patroni, and an etcd, all on 127.0.0.1. Dropping it kills all of them, waits for that, and removes their
/// data. When this process is killed they end as well, and the next cluster or server removes the folder.
///
/// There is a database `app` of a role of that name, which may log in and has `pg_read_all_stats`: what a service needs, and no
/// more.
///
/// ```no_run
/// use db_testkit::{Backend, Patroni, Replication};
///
/// # async fn example() -> Result<(), db_testkit::Error> {
/// let backend = Backend::local(std::env::var_os("PATH"));
/// let mut servers = Patroni::start(&backend, Replication::Synchronous).await?;
/// let old = servers.leader().await?;
/// servers.kill(old).await?;
/// let new = servers.promoted(old).await?; // after 20 s, in which etcd remembers the old one
/// servers.revive(old)?;
/// servers.follows(old, new).await?;
/// servers.stop().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Every method that takes the number of a member panics when there is none, as indexing does.
#[derive(Debug)]
pub struct Patroni {
    members: Vec<Member>,
    etcd: Option<Guarded>,
    programs: Programs,
    user: Option<User>,
    /// Whoever finds it free may remove the folder.
    _lock: File,
    _folder: TempDir,
}

const MEMBERS: usize = 3;

/// How long a cluster may take to begin, and to recover from a failure. The longest step is the [time](files::TTL) for which a
/// leader's claim holds.
const LATE: Duration = Duration::from_secs(60);

/// How often a condition is looked at that nothing reports.
const POLL: Duration = Duration::from_millis(20);

impl Patroni {
    /// Whether this machine has what it takes; `path` is the value of `PATH`.
    #[must_use]
    pub fn is_installed(path: Option<OsString>) -> bool {
        Programs::find(&Search::with_path(path)).is_ok()
    }

    /// Starts all, and waits until there is a leader and two members follow it; a synchronous one is ready to take over.
    ///
    /// # Errors
    /// When Patroni, etcd or PostgreSQL are not installed on this machine, and when they do not come to that state; the error has
    /// the end of Patroni's log.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn start(backend: &Backend, replication: Replication) -> Result<Self, Error> {
        let Backend::Local(search) = backend else {
            return Err(Error::Patroni("it takes the local binaries of PostgreSQL".to_owned()));
        };
        let mut this = Self::prepare(search, replication)?;
        match this.begin(replication).await {
            Ok(()) => Ok(this),
            Err(Error::Late { what, waited, answer }) => {
                let answer = format!("{answer}; {}", this.log_ends());
                Err(Error::Late { what, waited, answer })
            }
            Err(error) => Err(error),
        }
    }

    /// The members, by their numbers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A URL of all members, of which a client takes the one that is primary.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.members.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
        let first = self.members[0].url();
        let one = format!("127.0.0.1:{}", self.members[0].port());
        format!("{}?target_session_attrs=read-write", first.replacen(&one, &hosts.join(","), 1))
    }

    /// What to type to talk to Patroni, without the command itself: `patronictl -c FILE`.
    #[must_use]
    pub fn control(&self) -> String {
        format!("{} -c {}", self.programs.control.display(), self.members[0].file().display())
    }

    /// Who holds the leader's lock, and says so by REST. It may still be about to be promoted.
    ///
    /// # Errors
    /// When nobody has it for a minute.
    pub async fn leader(&self) -> Result<usize, Error> {
        self.until("a member is the leader", async || {
            let is_leader = self.members.iter().map(|member| rest::says_yes(member.rest(), "/primary"));
            join_all(is_leader).await.into_iter().position(|is| is)
        })
        .await
    }

    /// Who may be promoted when commits wait for a standby, by what its REST interface says.
    ///
    /// # Errors
    /// When there is none for a minute, as with [asynchronous](Replication::Asynchronous) replication.
    pub async fn synchronous(&self) -> Result<usize, Error> {
        self.until("a member is the synchronous standby", async || {
            let is_ready = self.members.iter().map(|member| rest::says_yes(member.rest(), "/synchronous"));
            join_all(is_ready).await.into_iter().position(|is| is)
        })
        .await
    }

    /// Waits until a member other than `old` is a primary by its own word, and gives its number.
    ///
    /// # Errors
    /// When none is within a minute.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn promoted(&self, old: usize) -> Result<usize, Error> {
        let others = (0..self.members.len()).filter(|number| *number != old);
        let promotions = others
            .map(|number| Box::pin(async move { self.members[number].promoted().await.map(|()| number) }));
        Ok(select_ok(promotions).await?.0)
    }

    /// Waits until a member streams from `leader`, on the timeline of that one, and has replayed what it has written by now.
    ///
    /// # Errors
    /// When it does not within a minute.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn follows(&self, member: usize, leader: usize) -> Result<(), Error> {
        let (member, leader) = (&self.members[member], &self.members[leader]);
        let what = format!("{} follows {}", member.name(), leader.name());
        let sends = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = '{}' AND state = 'streaming')",
            member.name()
        );
        comes_true(leader.admin(), &what, &sends, LATE).await?;
        caught_up(member.admin(), leader.admin(), &what).await
    }

    /// Has Patroni make another member the leader, as people do: `patronictl switchover --force`. It is over when the new one
    /// has the lock.
    ///
    /// # Errors
    /// When Patroni refuses, with what it says.
    ///
    /// # Cancel safety
    /// Dropped midway, it may happen all the same.
    pub async fn switch_over(&self) -> Result<(), Error> {
        let mut command = std::process::Command::new(&self.programs.control);
        programs::prepare(&mut command, self.user.as_ref());
        command.arg("-c").arg(self.members[0].file()).args(["switchover", "--force", SCOPE]);
        let output = Command::from(command).kill_on_drop(true).output().await?;
        // Its status is 0 also when it has failed.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && said.contains("Successfully switched over") {
            return Ok(());
        }
        Err(Error::Patroni(format!("{}{}", said.trim(), String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// Kills a member's PostgreSQL and its Patroni (`SIGKILL`), in this order and at once, and waits until both are gone. Nobody
    /// tells etcd.
    ///
    /// # Errors
    /// When its PostgreSQL does not run, or cannot be signalled.
    ///
    /// # Cancel safety
    /// Dropped midway, they end in the background.
    pub async fn kill(&mut self, member: usize) -> Result<(), Error> {
        let guarded = self.members[member].kill()?;
        let ended = tokio::task::spawn_blocking(|| guarded.map(Guarded::end)).await;
        ended.map(drop).map_err(|error| Error::Patroni(error.to_string()))
    }

    /// Starts the Patroni of a member that was killed. It finds its place by itself: [`follows`](Self::follows) waits for that.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn revive(&mut self, member: usize) -> Result<(), Error> {
        let Self { members, programs, user, .. } = self;
        members[member].start(&programs.patroni, user.as_ref())
    }

    /// Ends all and waits until they are gone. Dropping does the same, and blocks the thread meanwhile.
    ///
    /// # Errors
    /// None that is known.
    ///
    /// # Cancel safety
    /// Dropped midway, they end in the background.
    pub async fn stop(self) -> Result<(), Error> {
        let dropped = tokio::task::spawn_blocking(move || drop(self)).await;
        dropped.map_err(|error| Error::Patroni(error.to_string()))
    }

    /// Makes all that they need and starts nothing.
    fn prepare(search: &Search, replication: Replication) -> Result<Self, Error> {
        let (programs, user) = (Programs::find(search)?, User::choose()?);
        remove_left_overs();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        // They may run as another user, who must be able to enter.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
        let lock = File::create(folder.path().join("lock"))?;
        lock.try_lock().map_err(std::io::Error::from)?;
        // Processes are known by where they say they are.
        let real = fs::canonicalize(folder.path())?;
        let ports = programs::free_ports::<{ 2 * MEMBERS + 2 }>()?;
        let password = Alphanumeric.sample_string(&mut rand::rng(), 24);
        let etcd = make(real.join("etcd"), user.as_ref())?;
        let etcd = Guarded::spawn(
            &programs.etcd,
            &files::etcd(&etcd.join("data"), ports[0], ports[1]),
            None,
            user.as_ref(),
            &etcd.join("log"),
        )?;
        let mut members = Vec::new();
        for (number, pair) in ports[2..].chunks_exact(2).enumerate() {
            let name = format!("node-{number}");
            let folder = make(real.join(&name), user.as_ref())?;
            let ports = [ports[0], pair[0], pair[1]];
            let (password, postgres) = (&*password, &*programs.postgres);
            let file = files::File {
                name: &name,
                replication,
                ports,
                password,
                programs: postgres,
                folder: &folder,
            };
            members.push(Member::new(&file, user.as_ref())?);
        }
        Ok(Self { members, etcd: Some(etcd), programs, user, _lock: lock, _folder: folder })
    }

    async fn begin(&mut self, replication: Replication) -> Result<(), Error> {
        let etcd = self.members[0].etcd();
        // Patroni sleeps for 5 s when it does not find it.
        self.until("etcd answers", async || rest::says_yes(etcd, "/health").await.then_some(())).await?;
        for member in 0..self.members.len() {
            self.revive(member)?;
        }
        let leader = self.leader().await?;
        let admin = self.members[leader].admin();
        // It has the lock before it has a database.
        comes_true(admin, "the leader takes writes", "SELECT NOT pg_is_in_recovery()", LATE).await?;
        let role = format!("CREATE ROLE app LOGIN PASSWORD '{}'", self.members[leader].password());
        for statement in [&*role, "GRANT pg_read_all_stats TO app", "CREATE DATABASE app OWNER app"] {
            tell(admin, statement).await?;
        }
        for member in (0..self.members.len()).filter(|member| *member != leader) {
            self.follows(member, leader).await?;
        }
        if replication == Replication::Synchronous {
            self.synchronous().await?;
        }
        Ok(())
    }

    async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            let waited = start.elapsed();
            if waited > LATE {
                return Err(Error::Late { what: what.to_owned(), waited, answer: "no".to_owned() });
            }
            sleep(POLL).await;
        }
    }

    fn log_ends(&self) -> String {
        self.members.iter().map(|member| format!("{}: {}", member.name(), member.log_end())).collect()
    }
}

/// All are told first, so that they end at the same time.
impl Drop for Patroni {
    fn drop(&mut self) {
        let guarded = self.members.iter_mut().filter_map(Member::take).chain(self.etcd.take());
        let mut all: Vec<Guarded> = guarded.collect();
        all.iter_mut().for_each(Guarded::let_go);
        all.into_iter().for_each(Guarded::end);
    }
}

/// A folder for what runs as `user`.
fn make(folder: PathBuf, user: Option<&User>) -> Result<PathBuf, Error> {
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    user.map_or(Ok(()), |user| user.own(&folder))?;
    Ok(folder)
}
