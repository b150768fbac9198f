//! LISTEN that survives a lost connection: a connection of its own, subscribed again whenever it had to be opened anew.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use db_core::{ConnectFailed, Error, Phase, Result};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::task::AbortOnDropHandle;

use crate::Pool;
use crate::connect::{Connected, Connection};
use crate::connector::Aim;
use crate::physical::About;
use crate::settings::Settings;
use crate::shared::Shared;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// Somebody notified.
    Notification(Notification),
    /// The connection was lost and is there again. What was notified meanwhile is not known: whoever keeps something up to
    /// date by notifications reads it anew now.
    Gap,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// What was said with it.
    pub payload: String,
    /// The session that notified, as in `pg_stat_activity`.
    pub process_id: i32,
}

/// How many notifications wait for a listener who does not ask for them. Then the connection is read no further, and they
/// wait in the server.
const BUFFER: usize = 1_024;

/// Hears what is notified on its channels, from [`Pool::listen`](crate::Pool::listen). Ends with its pool, or when it is
/// dropped.
#[derive(Debug)]
pub struct Listener {
    heard: mpsc::Receiver<Heard>,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    /// What is heard next; `None` once the pool is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl Pool {
    /// Listens on `channels` with a connection of its own, beside those of the pool. When that is lost it is opened and
    /// subscribed again by itself, and the listener hears of the [gap](Heard::Gap). Not behind a pooler that gives each
    /// transaction another session.
    ///
    /// # Errors
    /// When the first connection cannot be opened, or a subscription is refused.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn listen(&self, channels: &[&str]) -> Result<Listener> {
        let sql = channels.iter().map(|channel| format!("LISTEN {}", quoted(channel)));
        let sql = sql.collect::<Vec<_>>().join("; ");
        let ears = Ears::open(&self.shared, &sql).await?;
        let (sender, heard) = mpsc::channel(BUFFER);
        let (shared, closing) = (Arc::downgrade(&self.shared), self.shared.closing.clone());
        let task = tokio::spawn(async move {
            closing.run_until_cancelled(listen(shared, ears, &sql, &sender)).await;
        });
        Ok(Listener { heard, _task: AbortOnDropHandle::new(task) })
    }
}

/// Hears until nobody wants to hear any more.
async fn listen(shared: Weak<Shared>, mut ears: Ears, sql: &str, heard: &mpsc::Sender<Heard>) {
    loop {
        if ears.hear(heard).await.is_err() {
            return;
        }
        let Some(opened) = reopen(&shared, sql).await else { return };
        ears = opened;
        if heard.send(Heard::Gap).await.is_err() {
            return;
        }
    }
}

/// Opens a connection again, however long that takes. Only the pool's end stops it.
async fn reopen(shared: &Weak<Shared>, sql: &str) -> Option<Ears> {
    let mut pause = Duration::ZERO;
    loop {
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        sleep(jittered).await;
        let shared = shared.upgrade()?;
        match Ears::open(&shared, sql).await {
            Ok(ears) => return Some(ears),
            Err(error) => {
                let About { pool, observer, .. } = &*shared.about;
                let aim = shared.connector.aim();
                observer.connect_failed(&ConnectFailed::new(pool, &aim.endpoint, &error));
            }
        }
        let retry = shared.settings.connect_retry;
        pause = (pause * 2).max(retry.initial_delay).min(retry.max_delay);
    }
}

/// A connection that is subscribed.
struct Ears {
    client: Client,
    connection: Connection,
    keep_alive: Duration,
    check_timeout: Duration,
    /// Changes when another server is to be listened to.
    aims: watch::Receiver<Arc<Aim>>,
}

/// Whoever listened has gone.
struct NobodyHears;

impl Ears {
    async fn open(shared: &Shared, sql: &str) -> Result<Self> {
        let mut aims = shared.connector.aims();
        loop {
            let aim = Arc::clone(&aims.borrow_and_update());
            let limit = shared.settings.connect_timeout;
            let opened = tokio::select! {
                opened = timeout(limit, Box::pin(Self::open_at(shared, &aim, sql))) => opened,
                Ok(()) = aims.changed() => continue,
            };
            let (client, connection) =
                opened.unwrap_or_else(|_| Err(shared.connector.silent(&aim, limit)))?;
            let Settings { keep_alive, check_timeout, .. } = shared.settings;
            return Ok(Self { client, connection, keep_alive, check_timeout, aims });
        }
    }

    async fn open_at(shared: &Shared, aim: &Aim, sql: &str) -> Result<(Client, Connection)> {
        let Connected { client, mut connection, .. } = shared.connector.connect(aim).await?;
        subscribe(&client, &mut connection, sql).await?;
        Ok((client, connection))
    }

    /// Passes on what is notified until the connection is lost, or is one to the wrong server.
    async fn hear(mut self, heard: &mpsc::Sender<Heard>) -> Result<(), NobodyHears> {
        let Self { client, connection, keep_alive, check_timeout, aims } = &mut self;
        let heard_count = AtomicU64::new(0);
        let mut alive = pin!(stays_alive(client, *keep_alive, *check_timeout, &heard_count));
        loop {
            let message = tokio::select! {
                // What has arrived is a sign of life, also when nobody asked for it for long.
                biased;
                message = poll_fn(|cx| connection.poll_message(cx)) => message,
                () = &mut alive => return Ok(()),
                _ = aims.changed() => return Ok(()),
                () = heard.closed() => return Err(NobodyHears),
            };
            heard_count.fetch_add(1, Ordering::Relaxed);
            match message {
                Some(Ok(AsyncMessage::Notification(told))) => {
                    let notification = Notification {
                        channel: told.channel().to_owned(),
                        payload: told.payload().to_owned(),
                        process_id: told.process_id(),
                    };
                    heard.send(Heard::Notification(notification)).await.map_err(|_| NobodyHears)?;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }
}

/// Sends `sql` while the connection is driven.
async fn subscribe(client: &Client, connection: &mut Connection, sql: &str) -> Result<()> {
    let mut subscribed = pin!(client.batch_execute(sql));
    let subscribed = poll_fn(|cx| {
        loop {
            match connection.poll_message(cx) {
                // What the server says meanwhile is before our time.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => return subscribed.as_mut().poll(cx),
            }
        }
    });
    subscribed.await.map_err(|error| Error::from_driver(&error, Phase::Execute).without_parameters())
}

/// Ends when the server gives no sign of life any more: no answer, and no message meanwhile, of which `heard` is the count.
async fn stays_alive(client: &Client, every: Duration, limit: Duration, heard: &AtomicU64) {
    if every.is_zero() {
        return std::future::pending().await;
    }
    loop {
        sleep(every).await;
        let before = heard.load(Ordering::Relaxed);
        let answered = timeout(limit, client.batch_execute("")).await;
        if !matches!(answered, Ok(Ok(()))) && heard.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_name_whatever_is_in_it() {
        assert_eq!(quoted("jobs"), "\"jobs\"");
        assert_eq!(quoted("a\"; DROP TABLE t; --"), "\"a\"\"; DROP TABLE t; --\"");
    }
}
