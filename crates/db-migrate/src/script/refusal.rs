//! Why a file may not run: found before anything was sent. What the server would refuse anyway is left to the server,
//! unless half a file would have run by then.

use std::fmt;

use crate::DirectiveError;

/// Why a script may not run. The text goes on after `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It would begin or end a transaction.
    #[error("begins or ends a transaction, which only the runner may do: remove the statement")]
    TransactionControl,
    /// It works with savepoints in a file that has no transaction.
    #[error(
        "works with a savepoint, but in a file with `-- no-transaction` each statement is sent by itself"
    )]
    Savepoint,
    /// The server runs it outside of transactions only.
    #[error(
        "is a statement that cannot run in a transaction: add the line `-- no-transaction` at the top of the file"
    )]
    NeedsNoTransaction,
    /// An index is built concurrently without a name.
    #[error(
        "builds an index without a name, so after a failure nobody could tell whether it was built: name it"
    )]
    UnnamedIndex,
    /// An index is built concurrently unless there is one of that name.
    #[error(
        "builds an index CONCURRENTLY with IF NOT EXISTS, which takes the invalid rest of a failed attempt for the \
         index: leave out IF NOT EXISTS"
    )]
    IndexIfNotExists,
    /// It would release the runner's lock.
    #[error("resets the whole session, and releases the lock of this run with it: use RESET ALL")]
    DiscardAll,
    /// It is a command of psql, not SQL.
    #[error(
        "is a command of psql, which no server understands: use SQL instead, for example INSERT for \\copy"
    )]
    MetaCommand,
    /// It exchanges data with the client.
    #[error("takes data from the client or sends it there: use INSERT, or COPY with a file on the server")]
    ClientCopy,
    /// Something that was opened is not closed.
    #[error("opens {0} that never ends")]
    Unterminated(Open),
    /// There is a NUL byte, which no text of the server may hold.
    #[error("holds a NUL byte, which the server takes for the end: is the file UTF-8 text?")]
    Nul,
    /// A header comment cannot be understood.
    #[error(transparent)]
    Directive(DirectiveError),
}

/// What a file leaves open at its end. Complete: SQL quotes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// `'…`
    String,
    /// `"…`
    Identifier,
    /// `$$…`
    DollarQuote,
    /// `/*…`
    Comment,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string (')",
            Self::Identifier => "a quoted name (\")",
            Self::DollarQuote => "a dollar-quoted string ($…$)",
            Self::Comment => "a comment (/*)",
        })
    }
}
