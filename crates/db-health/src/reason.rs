//! The fixed word for an error, which a stranger may read. Pure; the text of the error stays with insiders.

use db_core::{Error, Kind};

/// The word for an error of a look.
pub(crate) fn of(error: &Error) -> &'static str {
    let Some(state) = error.sqlstate() else {
        return match error.kind() {
            Kind::Connection => "unreachable",
            Kind::Performance => "busy",
            _ => "failed",
        };
    };
    match state.as_str() {
        "25006" => "read_only",
        "28000" | "28P01" => "authentication",
        "3D000" => "no_database",
        "42501" => "no_privilege",
        "53100" => "disk_full",
        "53200" => "out_of_memory",
        "53300" => "too_many_connections",
        "57P03" => "not_accepting",
        _ if error.kind() == Kind::Connection => "unreachable",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use db_core::{Cause, Phase, ServerError, Severity, Signal, SqlState};

    use super::*;

    #[test]
    fn errors_of_the_server() {
        let check = |code: &str, expect: &str| {
            let code = SqlState::new(code).expect("a code");
            let error = ServerError::new(code, Severity::Error, "it failed");
            assert_eq!(of(&Error::server_error(error, Phase::Execute)), expect, "{code}");
        };
        check("53100", "disk_full");
        check("25006", "read_only");
        check("28P01", "authentication");
        check("53300", "too_many_connections");
        check("57P01", "unreachable");
        check("42P01", "failed");
    }

    #[test]
    fn errors_of_the_way_to_it() {
        let check = |cause, expect| {
            assert_eq!(of(&Error::new(Signal::new(cause, Phase::Acquire), "it failed")), expect, "{cause:?}");
        };
        check(Cause::Unreachable, "unreachable");
        check(Cause::PoolBusy, "busy");
        check(Cause::UnexpectedResult, "failed");
    }
}
