//! A user's own check without a type of its own: a function, or one that gives a future.

use std::fmt;

use async_trait::async_trait;
use db_core::{Finding, Probe, Result};

/// Looks by calling a function that neither waits nor fails, such as one that reads a pool's figures.
pub struct FnProbe<F> {
    name: String,
    look: F,
}

impl<F: Fn() -> Finding + Send + Sync> FnProbe<F> {
    /// A probe that calls `look`.
    #[must_use]
    pub fn new(name: impl Into<String>, look: F) -> Self {
        Self { name: name.into(), look }
    }
}

#[async_trait]
impl<F: Fn() -> Finding + Send + Sync> Probe for FnProbe<F> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        Ok((self.look)())
    }
}

impl<F> fmt::Debug for FnProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnProbe").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Looks by calling a function that gives a future.
pub struct AsyncProbe<F> {
    name: String,
    look: F,
}

impl<F, Fut> AsyncProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<Finding>> + Send,
{
    /// A probe that awaits what `look` gives.
    #[must_use]
    pub fn new(name: impl Into<String>, look: F) -> Self {
        Self { name: name.into(), look }
    }
}

#[async_trait]
impl<F, Fut> Probe for AsyncProbe<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<Finding>> + Send,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        (self.look)().await
    }
}

impl<F> fmt::Debug for AsyncProbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncProbe").field("name", &self.name).finish_non_exhaustive()
    }
}
