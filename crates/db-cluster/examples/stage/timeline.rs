//! What a demo prints while it runs: a row for each moment of some length, with what each server is and has served, and the events
//! between them, each at its time. What happens is decided elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use db_cluster::Cluster;
use db_core::{EndpointChanged, Observer, ReadMoved};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, interval_at};

use crate::support::Own;

/// Whom everybody tells: the load what was served, the cluster what changed, the play what it does.
#[derive(Debug)]
pub(crate) struct Timeline {
    began: Instant,
    /// How long a row is.
    row: Duration,
    servers: Vec<Served>,
    moved: AtomicU64,
    events: UnboundedSender<Event>,
}

/// What one server has served since the last row.
#[derive(Debug)]
struct Served {
    name: String,
    /// By which it is known to whom it has served.
    port: u16,
    reads: AtomicU64,
    writes: AtomicU64,
}

#[derive(Debug)]
struct Event {
    at: Instant,
    what: String,
}

/// Prints what the timeline is told.
pub(crate) struct Printer {
    timeline: Arc<Timeline>,
    events: UnboundedReceiver<Event>,
}

impl Timeline {
    /// Begins now, for servers of these names and ports.
    pub(crate) fn begin(
        row: Duration,
        servers: impl IntoIterator<Item = (String, u16)>,
    ) -> (Arc<Self>, Printer) {
        let (sender, events) = unbounded_channel();
        let served = |(name, port)| Served { name, port, reads: 0.into(), writes: 0.into() };
        let servers = servers.into_iter().map(served).collect();
        let began = Instant::now();
        let timeline = Arc::new(Self { began, row, servers, moved: 0.into(), events: sender });
        (Arc::clone(&timeline), Printer { timeline, events })
    }

    /// Has an event printed.
    pub(crate) fn tell(&self, what: impl Into<String>) {
        // Once the demo is over nobody listens.
        self.events.send(Event { at: Instant::now(), what: what.into() }).ok();
    }

    /// Counts a read that this server has answered.
    pub(crate) fn read_by(&self, port: i32) {
        self.count(port, |served| &served.reads);
    }

    /// Counts a write that this server has acknowledged.
    pub(crate) fn written_by(&self, port: i32) {
        self.count(port, |served| &served.writes);
    }

    /// How many reads went on elsewhere by now.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn count(&self, port: i32, counter: impl Fn(&Served) -> &AtomicU64) {
        if let Some(served) = self.servers.iter().find(|served| i32::from(served.port) == port) {
            counter(served).fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for Timeline {
    fn endpoint_changed(&self, event: &EndpointChanged<'_>) {
        let reason = event.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        self.tell(format!("cluster: {} {} -> {}{reason}", event.endpoint, event.from, event.to));
    }

    fn read_moved(&self, _event: &ReadMoved<'_>) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }
}

impl Printer {
    /// Prints until it is dropped.
    pub(crate) async fn print(&mut self, cluster: &Cluster<Own>) -> Infallible {
        self.head();
        let row = self.timeline.row;
        let mut rows = interval_at(self.timeline.began + row, row);
        loop {
            tokio::select! {
                // An event that came before a row is above it.
                biased;
                Some(event) = self.events.recv() => self.event(&event),
                _ = rows.tick() => self.row(cluster),
            }
        }
    }

    /// Prints what was told and not printed yet. No row: its time is not over.
    pub(crate) fn rest(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.event(&event);
        }
    }

    fn head(&self) {
        let names: String =
            self.timeline.servers.iter().map(|served| format!("   {:<24}", served.name)).collect();
        println!("{:9}{}", "", names.trim_end());
        let columns =
            format!("   {:<8}{:>8}{:>8}", "is", "reads", "writes").repeat(self.timeline.servers.len());
        println!("{:>9}{columns}", "time");
    }

    fn row(&self, cluster: &Cluster<Own>) {
        let cell = |(served, stats): (&Served, db_cluster::EndpointStats)| {
            let [reads, writes] =
                [&served.reads, &served.writes].map(|count| match count.swap(0, Ordering::Relaxed) {
                    0 => "-".to_owned(),
                    count => count.to_string(),
                });
            format!("   {:<8}{reads:>8}{writes:>8}", stats.standing.word())
        };
        let cells: String = self.timeline.servers.iter().zip(cluster.stats()).map(cell).collect();
        println!("{}{cells}", self.time(Instant::now()));
    }

    fn event(&self, event: &Event) {
        println!("{}   * {}", self.time(event.at), event.what);
    }

    fn time(&self, at: Instant) -> String {
        format!("{:>7.2} s", at.duration_since(self.timeline.began).as_secs_f64())
    }
}
