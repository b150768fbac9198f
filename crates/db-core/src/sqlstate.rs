//! The five-character code of a server error. Names only the codes that the layer treats specially.

use std::fmt;

/// An SQLSTATE, for example `23505`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `08000`: connection exception.
    pub const CONNECTION_EXCEPTION: Self = Self(*b"08000");
    /// `08003`: connection does not exist.
    pub const CONNECTION_DOES_NOT_EXIST: Self = Self(*b"08003");
    /// `08006`: connection failure.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// `08007`: transaction resolution unknown.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// `08P01`: protocol violation.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `0A000`: feature not supported; also "cached plan must not change result type".
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `25006`: read-only SQL transaction.
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    /// `25P02`: the transaction has failed already.
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// `25P03`: idle-in-transaction session time-out.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self(*b"25P03");
    /// `25P04`: transaction time-out (PostgreSQL 17).
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// `26000`: the prepared statement does not exist.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// `28000`: invalid authorization specification.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// `28P01`: invalid password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `3D000`: the database does not exist.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// `40001`: serialization failure.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// `40003`: statement completion unknown.
    pub const STATEMENT_COMPLETION_UNKNOWN: Self = Self(*b"40003");
    /// `40P01`: deadlock detected.
    pub const DEADLOCK_DETECTED: Self = Self(*b"40P01");
    /// `42501`: insufficient privilege.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// `42P05`: the prepared statement exists already.
    pub const DUPLICATE_STATEMENT: Self = Self(*b"42P05");
    /// `53300`: too many connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `55P03`: lock not available.
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// `57014`: query cancelled, by a user or by `statement_timeout`.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `57P01`: the server shuts down, or the backend was terminated.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `57P02`: another backend crashed.
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// `57P03`: the server starts up or shuts down and takes no connection.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `57P05`: idle-session time-out.
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");

    /// Reads a code; `None` unless it is five ASCII letters or digits.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// The five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor takes ASCII only.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The class: the first two characters.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.as_str()[..2]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

impl serde::Serialize for SqlState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_five_letters_or_digits() {
        assert_eq!(SqlState::new("57P01"), Some(SqlState::ADMIN_SHUTDOWN));
        for bad in ["", "57P0", "57P012", "57 01", "é7P1"] {
            assert_eq!(SqlState::new(bad), None, "{bad:?}");
        }
    }
}
