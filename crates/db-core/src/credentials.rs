//! Where passwords come from: asked for each physical connect, so that they may change while a pool is open. Providers that
//! read files or run commands are elsewhere; this is the contract, and the two that know everything beforehand.

use async_trait::async_trait;

use crate::{Result, SecretString};

/// Gives the password of a connection that is about to be opened.
#[async_trait]
pub trait CredentialProvider: Send + Sync {
    /// The password to connect with; `None` where the server asks for none.
    ///
    /// A provider that caches answers from its cache while what is there is good.
    ///
    /// # Errors
    /// When it cannot be had, with a text that says from where; never the password itself.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await, and then be asked again.
    async fn password(&self) -> Result<Option<SecretString>>;

    /// The server refused the password last given. What is asked for next must be read anew, not come from a cache.
    ///
    /// Called once for each refusal by whoever noticed it first, however many connections were refused.
    fn refused(&self) {}
}

/// A password that never changes.
#[derive(Clone, Debug)]
pub struct StaticPassword(SecretString);

impl StaticPassword {
    /// Always this one.
    #[must_use]
    pub fn new(password: SecretString) -> Self {
        Self(password)
    }
}

#[async_trait]
impl CredentialProvider for StaticPassword {
    async fn password(&self) -> Result<Option<SecretString>> {
        Ok(Some(self.0.clone()))
    }
}

/// No password: the server trusts, or looks at certificates or at the user of the other process.
#[derive(Clone, Copy, Debug)]
pub struct NoPassword;

#[async_trait]
impl CredentialProvider for NoPassword {
    async fn password(&self) -> Result<Option<SecretString>> {
        Ok(None)
    }
}
