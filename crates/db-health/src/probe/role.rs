//! Whether the server is in the role that is expected of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Executor, Finding, Probe, Query, Result};

const SQL: &str = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool";

/// Asks a server for its role.
///
/// | expected | found | then |
/// |---|---|---|
/// | primary | a standby | unhealthy, `not_primary` |
/// | primary | one whose transactions are read-only by default | unhealthy, `read_only` |
/// | standby | a primary | degraded, `not_standby`: it still answers reads |
///
/// The second is how an operator, or a provider whose disk is nearly full, forbids writes (`default_transaction_read_only`).
/// What is set for the server counts at once; what is set for a database or a role counts for connections opened later,
/// and is seen when the probe's own is.
pub struct RoleProbe {
    name: String,
    executor: Arc<dyn Executor>,
    expected: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Standby,
}

impl RoleProbe {
    /// Expects a server that takes writes.
    #[must_use]
    pub fn primary(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor, expected: Role::Primary }
    }

    /// Expects a server that follows another.
    #[must_use]
    pub fn standby(name: impl Into<String>, executor: Arc<dyn Executor>) -> Self {
        Self { name: name.into(), executor, expected: Role::Standby }
    }
}

#[async_trait]
impl Probe for RoleProbe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check(&self) -> Result<Finding> {
        let (is_standby, is_read_only) = self.executor.one::<(bool, bool)>(SQL, &[]).await?;
        Ok(judge(self.expected, is_standby, is_read_only))
    }
}

impl fmt::Debug for RoleProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleProbe")
            .field("name", &self.name)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

fn judge(expected: Role, is_standby: bool, is_read_only: bool) -> Finding {
    let finding = match expected {
        Role::Primary if is_standby => Finding::unhealthy("not_primary"),
        Role::Primary if is_read_only => Finding::unhealthy("read_only"),
        Role::Standby if !is_standby => Finding::degraded("not_standby"),
        _ => Finding::healthy(),
    };
    let role = if is_standby { "standby" } else { "primary" };
    finding.with("role", role).with("read_only", is_standby || is_read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles() {
        let check = |expected, is_standby, is_read_only, expect| {
            let found = judge(expected, is_standby, is_read_only);
            assert_eq!(found.reason, expect, "{expected:?} {is_standby} {is_read_only}");
        };
        check(Role::Primary, false, false, None);
        check(Role::Primary, true, false, Some("not_primary"));
        check(Role::Primary, true, true, Some("not_primary"));
        check(Role::Primary, false, true, Some("read_only"));
        check(Role::Standby, true, false, None);
        check(Role::Standby, true, true, None);
        check(Role::Standby, false, false, Some("not_standby"));
    }
}
