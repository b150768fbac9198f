//! The pool under test: ours, or plain bb8 0.9 with bb8-postgres when `DB_TEST_POOL=bb8` is set, which shows that the tests
//! of its weaknesses can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bb8_postgres::PostgresConnectionManager;
use db_core::{CredentialProvider, Executor, Query, Result as CoreResult, SecretString};
use db_pool::{Conn, Pool, Settings, Target};
use tokio_postgres::{Client, Config, NoTls};

/// The settings that the tests change, in the terms that both have.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) max: u32,
    pub(crate) min: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_lifetime: Duration,
    /// Whether opening a connection panics, once.
    pub(crate) panics: Arc<AtomicBool>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            max: 1,
            min: 0,
            acquire_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(60),
            max_lifetime: Duration::from_secs(60),
            panics: Arc::default(),
        }
    }
}

/// A pool.
#[derive(Clone)]
pub(crate) enum Subject {
    Ours(Pool),
    Plain(bb8::Pool<Manager>),
}

/// A connection out of it.
pub(crate) enum Lease {
    Ours(Conn),
    Plain(bb8::PooledConnection<'static, Manager>),
}

impl Subject {
    /// # Errors
    /// What the pool says when it cannot be opened, or its first connection cannot be.
    pub(crate) async fn open(config: Config, wanted: &Wanted) -> Result<Self, String> {
        if std::env::var("DB_TEST_POOL").is_ok_and(|pool| pool == "bb8") {
            return Self::plain(config, wanted).await;
        }
        let Wanted { max, min, acquire_timeout, idle_timeout, max_lifetime, panics } = wanted.clone();
        let mut settings = Settings::default();
        (settings.max, settings.min, settings.acquire_timeout) = (max, min, acquire_timeout);
        (settings.idle_timeout, settings.max_lifetime) = (idle_timeout, max_lifetime);
        settings.queue_limit = 10_000;
        settings.connect_timeout = acquire_timeout / 2;
        settings.check_timeout = acquire_timeout / 2;
        let password = config.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
        let password = password.unwrap_or_default().into();
        let target = Target::from(config).with_credentials(Arc::new(Panicking { password, panics }));
        Pool::open(target, settings).await.map(Self::Ours).map_err(|error| error.to_string())
    }

    async fn plain(config: Config, wanted: &Wanted) -> Result<Self, String> {
        let manager = Manager {
            inner: PostgresConnectionManager::new(config, NoTls),
            panics: Arc::clone(&wanted.panics),
        };
        let pool = bb8::Pool::builder()
            .max_size(wanted.max)
            .min_idle(wanted.min)
            .connection_timeout(wanted.acquire_timeout)
            .idle_timeout(wanted.idle_timeout)
            .max_lifetime(wanted.max_lifetime)
            .reaper_rate(wanted.idle_timeout.min(Duration::from_secs(30)))
            .build(manager)
            .await
            .map_err(|error| error.to_string())?;
        let subject = Self::Plain(pool);
        subject.acquire().await?;
        Ok(subject)
    }

    pub(crate) async fn acquire(&self) -> Result<Lease, String> {
        match self {
            Self::Ours(pool) => pool.acquire().await.map(Lease::Ours).map_err(|error| error.to_string()),
            Self::Plain(pool) => {
                let owned = pool.get_owned().await;
                owned.map(Lease::Plain).map_err(|error| format!("{error:?}"))
            }
        }
    }

    /// Callers who wait, as the pool counts them.
    pub(crate) fn waiting(&self) -> u64 {
        match self {
            Self::Ours(pool) => pool.stats().waiting.into(),
            Self::Plain(pool) => {
                let counts = pool.state().statistics;
                counts.get_started - counts.get_direct - counts.get_waited - counts.get_timed_out
            }
        }
    }

    /// Ends the pool as well as it can be.
    pub(crate) async fn close(self, limit: Duration) {
        match self {
            Self::Ours(pool) => pool.close(limit).await.expect("in time"),
            Self::Plain(pool) => drop(pool),
        }
    }
}

impl Lease {
    pub(crate) async fn batch_execute(&self, sql: &str) -> Result<(), String> {
        match self {
            Self::Ours(conn) => conn.batch_execute(sql).await.map_err(|error| error.to_string()),
            Self::Plain(conn) => conn.batch_execute(sql).await.map_err(|error| error.to_string()),
        }
    }

    pub(crate) async fn number(&self, sql: &str) -> i32 {
        match self {
            Self::Ours(conn) => conn.one(sql, &[]).await.expect("a number"),
            Self::Plain(conn) => conn.query_one(sql, &[]).await.expect("a number").get(0),
        }
    }

    pub(crate) async fn process_id(&self) -> i32 {
        self.number("SELECT pg_backend_pid()").await
    }
}

/// bb8-postgres, but for a panic on demand.
pub(crate) struct Manager {
    inner: PostgresConnectionManager<NoTls>,
    panics: Arc<AtomicBool>,
}

impl bb8::ManageConnection for Manager {
    type Connection = Client;
    type Error = tokio_postgres::Error;

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as asked for");
        self.inner.connect().await
    }

    async fn is_valid(&self, client: &mut Client) -> Result<(), tokio_postgres::Error> {
        self.inner.is_valid(client).await
    }

    fn has_broken(&self, client: &mut Client) -> bool {
        self.inner.has_broken(client)
    }
}

/// A password whose provider panics on demand.
struct Panicking {
    password: SecretString,
    panics: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl CredentialProvider for Panicking {
    async fn password(&self) -> CoreResult<Option<SecretString>> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as asked for");
        Ok(Some(self.password.clone()))
    }
}
