//! Passwords from a closure: a vault's client, a cloud's token, whatever else there is.

use std::fmt;

use async_trait::async_trait;
use db_core::{CredentialProvider, Result, SecretString};

/// Asks a closure for each physical connect.
///
/// ```
/// use db_core::{CredentialProvider, SecretString};
/// use db_pool::PasswordFn;
///
/// # async fn token() -> db_core::Result<String> { Ok("t".to_owned()) }
/// let credentials = PasswordFn::new(|| async { Ok(Some(SecretString::from(token().await?))) });
/// # fn is_one(_: impl CredentialProvider) {}
/// # is_one(credentials);
/// ```
///
/// It caches nothing, and what the server refused is of no interest to it: whoever needs either implements
/// [`CredentialProvider`].
pub struct PasswordFn<F> {
    ask: F,
}

impl<F, Asked> PasswordFn<F>
where
    F: Fn() -> Asked + Send + Sync,
    Asked: Future<Output = Result<Option<SecretString>>> + Send,
{
    /// Asks `ask`. Its future may be dropped at any await.
    #[must_use]
    pub fn new(ask: F) -> Self {
        Self { ask }
    }
}

#[async_trait]
impl<F, Asked> CredentialProvider for PasswordFn<F>
where
    F: Fn() -> Asked + Send + Sync,
    Asked: Future<Output = Result<Option<SecretString>>> + Send,
{
    async fn password(&self) -> Result<Option<SecretString>> {
        (self.ask)().await
    }
}

impl<F> fmt::Debug for PasswordFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFn").finish_non_exhaustive()
    }
}
