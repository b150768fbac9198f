//! Whether the schema is one that this version of the program can work with, as a health check. It looks at the newest
//! applied migration only; whether the schema is what the migrations say is for `db migrate verify`.

use std::sync::Arc;

use async_trait::async_trait;
use db_core::{Cause, Error, Finding, Phase, Probe, Result, Signal};
use db_migrate::{HistoryTable, Place, SchemaRange, applied_version};

use crate::watched::Watched;

/// A probe of the schema's version.
pub(crate) struct SchemaProbe {
    server: Arc<Watched>,
    table: HistoryTable,
    range: SchemaRange,
}

impl SchemaProbe {
    pub(crate) fn new(server: Arc<Watched>, table: HistoryTable, range: SchemaRange) -> Self {
        Self { server, table, range }
    }
}

#[async_trait]
impl Probe for SchemaProbe {
    fn name(&self) -> &str {
        "schema"
    }

    async fn check(&self) -> Result<Finding> {
        let client = self.server.client().await?;
        let newest = applied_version(&*client, &self.table).await.map_err(|error| match error {
            db_migrate::Error::Database { source, .. } => source,
            other => Error::new(Signal::new(Cause::UnexpectedResult, Phase::Execute), other.to_string()),
        })?;
        let finding = match self.range.place(newest.as_ref()) {
            Place::Within => Finding::healthy(),
            Place::Behind => Finding::unhealthy("schema_behind"),
            Place::Ahead => Finding::unhealthy("schema_ahead"),
        };
        let version = newest.map(|version| version.to_string());
        Ok(finding.with("version", version).with("required", self.range.to_string()))
    }
}
