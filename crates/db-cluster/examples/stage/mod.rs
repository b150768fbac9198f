//! What two demos share: a cluster under load, and somebody who watches it. What happens to the servers is theirs to say.

pub(crate) mod load;
pub(crate) mod outcome;
pub(crate) mod timeline;

use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use db_cluster::{Cluster, Settings, Standing};
use deadpool_postgres::{Manager, Pool, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Config, NoTls};
use tokio_util::sync::CancellationToken;

use crate::support::Own;
use load::{PACE, READERS, WRITERS};
use timeline::Timeline;

pub(crate) type Result<T, E = Box<dyn StdError>> = std::result::Result<T, E>;

/// How long one state of things is shown.
const SCENE: Duration = Duration::from_millis(1500);

/// The cluster and those who watch it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster<Own>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) interrupted: CancellationToken,
    /// How long servers and the cluster may take to come to what is waited for.
    pub(crate) late: Duration,
}

impl Stage {
    /// Leaves things as they are, for people to see.
    pub(crate) async fn scene(&self) -> Result<()> {
        tokio::select! {
            () = sleep(SCENE) => Ok(()),
            () = self.interrupted.cancelled() => Err("interrupted".into()),
        }
    }

    /// Waits until the cluster has noticed.
    pub(crate) async fn becomes(&self, node: usize, standing: Standing) -> Result<()> {
        let what = format!("the cluster sees that node-{node} is {standing}");
        self.until(&what, async || Ok(self.cluster.stats()[node].standing == standing)).await
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !is_so().await? {
            if self.interrupted.is_cancelled() {
                return Err("interrupted".into());
            }
            if began.elapsed() > self.late {
                return Err(format!("not within {} s: {what}", self.late.as_secs()).into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// A cluster over pools of somebody's own. It is not told who is primary.
pub(crate) async fn route(
    servers: impl IntoIterator<Item = (String, Config)>,
    timeline: &Arc<Timeline>,
) -> Result<Cluster<Own>> {
    let mut settings = Settings::default();
    // The default of 10 s, in which a replica that came back takes less, would be most of a demo.
    settings.slow_start = Duration::from_secs(2);
    let mut builder = Cluster::builder().settings(settings).observer(Arc::clone(timeline) as _);
    for (name, config) in servers {
        let pool = |max| {
            let manager = Manager::new(config.clone(), NoTls);
            Pool::builder(manager).max_size(max).runtime(Runtime::Tokio1).build().map(Own::new)
        };
        builder = builder.endpoint_watched_over(name, pool(READERS + WRITERS)?, pool(1)?);
    }
    Ok(builder.start().await?)
}

/// Says why a demo failed, if it did.
#[expect(clippy::print_stderr, reason = "an example prints")]
pub(crate) fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says what the rows of the timeline mean.
#[expect(clippy::print_stdout, reason = "an example prints")]
pub(crate) fn introduce(row: &str) {
    let pace = PACE.as_millis();
    println!("{READERS} readers and {WRITERS} writers, each with a statement every {pace} ms");
    println!("a row is {row}: what each server is, and what it has answered");
    println!();
}

/// Cancelled by Ctrl-C, and by SIGTERM.
pub(crate) fn watch_signals() -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let interrupted = CancellationToken::new();
    let token = interrupted.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        token.cancel();
    });
    Ok(interrupted)
}
