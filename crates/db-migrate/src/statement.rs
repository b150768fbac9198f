//! One statement of a file: where it stands, and whether it may share a transaction with others. What it means is the
//! server's to say.

use std::ops::Range;

/// A statement and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its bytes in the file, without the semicolon that ends it.
    pub(crate) range: Range<usize>,
    /// The line of its first word, from 1.
    pub(crate) line: u32,
    /// How it may run.
    pub(crate) execution: Execution,
}

/// How a statement may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Execution {
    /// In a transaction, together with its progress.
    InTransaction,
    /// Only by itself: the server refuses it in a transaction, or it may end one (`CALL`, `DO` with a COMMIT).
    Alone(Alone),
}

/// What is needed to find out, after a crash, whether a statement that ran alone took effect. Names are in parts, as the
/// server holds them: folded to lower case unless quoted, schema first if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    /// `CREATE [UNIQUE] INDEX CONCURRENTLY index ON table`.
    CreateIndex {
        /// Its schema, if there is one, is that of the table.
        index: Vec<String>,
        table: Vec<String>,
        unique: bool,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex { index: Vec<String> },
    /// `CREATE DATABASE`.
    CreateDatabase { name: String },
    /// `DROP DATABASE`.
    DropDatabase { name: String },
    /// `ALTER TABLE table DETACH PARTITION partition CONCURRENTLY`.
    DetachPartition { table: Vec<String>, partition: Vec<String> },
    /// Leads to the same when it runs twice: `VACUUM`, `REINDEX`, `CLUSTER`, `ALTER SYSTEM`.
    Repeatable,
    /// What it does is not visible from here: `CALL`, `DO`, and the rest that the server refuses in a transaction.
    Opaque,
}
