//! Credentials that change while a pool is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use db_core::{CredentialProvider, Query, Result, SecretString};
use db_pool::{LaneSettings, Pool, Target};

use crate::support::{client, database, eventually, settings};

/// Gives the old password until that is refused, as a vault's cache does.
#[derive(Default)]
struct Vault {
    is_renewed: AtomicBool,
    asked: AtomicUsize,
    refused: AtomicUsize,
}

#[async_trait]
impl CredentialProvider for Vault {
    async fn password(&self) -> Result<Option<SecretString>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let password = if self.is_renewed.load(Ordering::SeqCst) { "two" } else { "one" };
        Ok(Some(SecretString::from(password)))
    }

    fn refused(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
        self.is_renewed.store(true, Ordering::SeqCst);
    }
}

/// A12, D10: the password changes under load, with connections replaced all the time: no request fails, and the provider
/// is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_load_fails_nobody() {
    let database = database().await;
    let role = format!("role_{}", database.name());
    let admin = client(database.url()).await;
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'one'")).await.expect("a role");
    let vault = Arc::new(Vault::default());
    let mut config = database.config();
    config.user(&role);
    let provider: Arc<dyn CredentialProvider> = Arc::<Vault>::clone(&vault);
    let mut settings = settings();
    (settings.max, settings.min, settings.max_uses) = (4, 4, 5);
    // Each statement is to use up its connection.
    settings.lanes = LaneSettings::off();
    settings.acquire_timeout = Duration::from_secs(10);
    let pool = Pool::open(Target::from(config).with_credentials(provider), settings).await.expect("a pool");

    let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (pool, is_over, served) = (pool.clone(), Arc::clone(&is_over), Arc::clone(&served));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    pool.one::<i32>("SELECT 1", &[]).await.expect("no request fails");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let goes_on = async || {
        let until = served.load(Ordering::Relaxed) + 100;
        eventually("requests are served", async || served.load(Ordering::Relaxed) >= until).await;
    };
    goes_on().await;
    admin.batch_execute(&format!("ALTER ROLE {role} PASSWORD 'two'")).await.expect("a new password");
    goes_on().await;
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no request failed");
    }
    assert_eq!(vault.refused.load(Ordering::SeqCst), 1);
    assert!(vault.asked.load(Ordering::SeqCst) > 10, "it is asked for each connection");
    pool.close(Duration::from_secs(5)).await.expect("close");
    let gone = async || admin.batch_execute(&format!("DROP ROLE {role}")).await.is_ok();
    eventually("the role is free", gone).await;
}
