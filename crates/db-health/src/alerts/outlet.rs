//! The way from the rules to one sink: a bounded queue and the task that empties it. It does not try again what failed.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::notice::Notice;
use super::sink::{AlertSink, Undelivered};

/// How many messages wait for a sink; of more the oldest are dropped.
const MOST: usize = 100;

/// A sink with its queue. Dropping it ends the delivery.
pub(super) struct Outlet {
    queue: Arc<Queue>,
    task: AbortOnDropHandle<()>,
}

struct Queue {
    sink: Arc<dyn AlertSink>,
    waiting: Mutex<VecDeque<Notice>>,
    wake: Notify,
    /// Messages that wait or are on their way.
    left: watch::Sender<usize>,
}

impl Outlet {
    pub(super) fn open(sink: Arc<dyn AlertSink>) -> Self {
        let (waiting, wake, left) = (Mutex::default(), Notify::new(), watch::Sender::new(0));
        let queue = Arc::new(Queue { sink, waiting, wake, left });
        let task = AbortOnDropHandle::new(tokio::spawn(deliver_on(Arc::clone(&queue))));
        Self { queue, task }
    }

    /// Hands over a message. Never waits.
    pub(super) fn push(&self, notice: Notice) {
        let mut waiting = self.queue.waiting();
        let dropped = if waiting.len() < MOST { None } else { waiting.pop_front() };
        waiting.push_back(notice);
        if dropped.is_none() {
            self.queue.left.send_modify(|left| *left += 1);
        }
        drop(waiting);
        self.queue.wake.notify_one();
        if let Some(dropped) = dropped {
            tracing::warn!(target: "db::alert", sink = self.queue.sink.name(), alert = dropped.alert,
                "too many messages wait for the sink: the oldest is dropped");
        }
    }

    /// Waits until no message is left.
    pub(super) async fn drained(&self) {
        // The sender lives as long as this does.
        self.queue.left.subscribe().wait_for(|left| *left == 0).await.ok();
    }

    /// Ends the delivery, and says how many messages are lost by that.
    pub(super) fn close(&self) -> usize {
        self.task.abort();
        let lost = *self.queue.left.borrow();
        if lost > 0 {
            tracing::warn!(target: "db::alert", sink = self.queue.sink.name(), lost,
                "messages about alerts were not delivered before the end");
        }
        lost
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, notice: &Notice) {
        let delivery = AssertUnwindSafe(self.sink.deliver(notice)).catch_unwind();
        let result = delivery.await.unwrap_or_else(|_| Err(Undelivered::new("the sink panicked")));
        if let Err(error) = result {
            tracing::warn!(target: "db::alert", sink = self.sink.name(), alert = notice.alert, %error,
                "a message about an alert was not delivered");
        }
    }
}

async fn deliver_on(queue: Arc<Queue>) {
    loop {
        let next = queue.waiting().pop_front();
        match next {
            Some(notice) => {
                queue.deliver(&notice).await;
                queue.left.send_modify(|left| *left -= 1);
            }
            None => queue.wake.notified().await,
        }
    }
}
