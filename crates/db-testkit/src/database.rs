//! A database for one test.

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::Error;

/// An empty database that nobody else knows. Dropping it removes it, whoever is still connected.
pub struct TestDatabase {
    name: String,
    url: String,
    admin: String,
}

impl TestDatabase {
    pub(crate) async fn create(admin: &str) -> Result<Self, Error> {
        let suffix = Alphanumeric.sample_string(&mut rand::rng(), 16).to_lowercase();
        let name = format!("test_{suffix}");
        execute(admin, &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        let url = with_database(admin, &name)?;
        Ok(Self { name, url, admin: admin.to_owned() })
    }

    /// The URL of a superuser in this database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same as the driver's configuration.
    ///
    /// # Panics
    /// Never: the URL was parsed before.
    #[must_use]
    pub fn config(&self) -> Config {
        #[expect(clippy::unwrap_used, reason = "it was parsed when the database was made")]
        self.url.parse().unwrap()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Without the URLs, which hold a password.
impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How long dropping a database waits for the server.
///
/// Dropping blocks the thread, and with it the runtime of a single-threaded test. A connection that this runtime has half
/// opened cannot go on then, and DROP DATABASE waits for sessions that authenticate (for up to
/// `authentication_timeout`, a minute). So it goes on behind the test's back when it takes longer than usual.
const DROP_WAIT: Duration = Duration::from_millis(500);

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (admin, sql) =
            (self.admin.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let (done, is_done) = mpsc::channel();
        // The runtime of the test may be on its way out: this needs one of its own. A server that is gone has taken the
        // database along or keeps it; there is nobody left to tell.
        std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(execute(&admin, &sql)).ok();
            }
            done.send(()).ok();
        });
        is_done.recv_timeout(DROP_WAIT).ok();
    }
}

pub(crate) async fn execute(admin: &str, sql: &str) -> Result<(), Error> {
    let (client, driver) = connect(admin).await?;
    client.batch_execute(sql).await?;
    drop(client);
    driver.await.ok();
    Ok(())
}

/// The version of a server, which proves that it can be used.
pub(crate) async fn version(admin: &str) -> Result<String, Error> {
    let (client, _driver) = connect(admin).await?;
    Ok(client.query_one("SHOW server_version", &[]).await?.get(0))
}

pub(crate) async fn connect(admin: &str) -> Result<(Client, JoinHandle<()>), Error> {
    let mut config: Config = admin.parse()?;
    config.connect_timeout(Duration::from_secs(5));
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        // An error reaches the client's caller as well.
        connection.await.ok();
    });
    Ok((client, driver))
}

/// Replaces the database in a URL: everything between the last slash of the path and the query.
fn with_database(url: &str, database: &str) -> Result<String, Error> {
    let not_a_url = || Error::Url("it is not postgres://user:password@host/database".into());
    let (scheme, rest) = url.split_once("://").ok_or_else(not_a_url)?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = place.split('/').next().unwrap_or(place);
    let url = format!("{scheme}://{authority}/{database}{query}");
    url.parse::<Config>()?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        let check = |url, expect| assert_eq!(with_database(url, "t").expect(url), expect);
        check("postgres://a:b@h:1/d", "postgres://a:b@h:1/t");
        check("postgres://a:b@h:1", "postgres://a:b@h:1/t");
        check("postgres://a@h/d?sslmode=disable", "postgres://a@h/t?sslmode=disable");
    }
}
