//! What all endpoints share.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use db_core::SecretString;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::live::Live;
use crate::Database;

/// How often a page is told the news.
const PACE: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) token: Option<SecretString>,
    pub(super) started: Instant,
    #[cfg(feature = "prometheus")]
    pub(super) registry: Option<prometheus::Registry>,
    feed: Feed,
}

/// The news, made once for all who listen, and only while somebody does.
#[derive(Default)]
struct Feed {
    latest: watch::Sender<Arc<str>>,
    maker: OnceLock<AbortOnDropHandle<()>>,
}

impl Shared {
    pub(super) fn new(
        database: Database,
        token: Option<SecretString>,
        #[cfg(feature = "prometheus")] registry: Option<prometheus::Registry>,
    ) -> Self {
        Self {
            database,
            token,
            started: Instant::now(),
            #[cfg(feature = "prometheus")]
            registry,
            feed: Feed::default(),
        }
    }

    /// The news as JSON: at once, and then each second until the service shuts down.
    pub(super) fn news(self: &Arc<Self>) -> impl Stream<Item = Arc<str>> + use<> {
        self.feed.maker.get_or_init(|| AbortOnDropHandle::new(tokio::spawn(make(Arc::downgrade(self)))));
        let heard = self.feed.latest.subscribe();
        let first = stream::iter([self.now()]);
        let others = stream::unfold(heard, |mut heard| async {
            heard.changed().await.ok()?;
            let news = Arc::clone(&heard.borrow_and_update());
            Some((news, heard))
        });
        let end = self.database.going_down();
        first.chain(others).take_until(async move { end.cancelled().await })
    }

    fn now(&self) -> Arc<str> {
        serde_json::to_string(&Live::of(self)).unwrap_or_default().into()
    }
}

/// Makes the news until nobody serves them any more.
async fn make(shared: Weak<Shared>) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.feed.latest.receiver_count() > 0 {
            shared.feed.latest.send_replace(shared.now());
        }
    }
}
