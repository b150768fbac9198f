//! What drops things asks first, where it matters. Decides and asks; what runs is not its business.

use std::io::{IsTerminal, stderr, stdin};

use db_app::config::Environment;
use tokio::sync::oneshot;

/// What a command is about to do, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drops {
    /// Rolls back what was applied.
    Some(&'static str),
    /// Rolls back everything.
    Everything {
        /// Whether that is forced.
        force: bool,
    },
}

/// Where it would do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) environment: Environment,
    /// Whether the server is one that `db` itself started.
    pub(crate) is_server_ours: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Consent {
    Given,
    /// Somebody has to say yes to this.
    Needed(String),
    /// No yes helps.
    Refused(String),
}

/// Whether it may be done; otherwise the reason why not. Asks when nobody said yes and somebody is there to ask.
pub(super) async fn obtain(drops: Drops, place: Place, yes: bool) -> Result<(), String> {
    match consent(drops, place, yes) {
        Consent::Given => Ok(()),
        Consent::Refused(reason) => Err(reason),
        Consent::Needed(reason) if stdin().is_terminal() && stderr().is_terminal() => {
            eprint!("{reason}. Go on? [y/N] ");
            let answer = answer().await;
            let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
            if is_yes { Ok(()) } else { Err("not done: nobody said yes".to_owned()) }
        }
        Consent::Needed(reason) => Err(format!("{reason}: it needs --yes")),
    }
}

/// A line of standard input; empty when there is none. Read on a thread that nobody waits for at the end: a signal ends the
/// program also while it asks.
async fn answer() -> String {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let is_read = stdin().read_line(&mut line).is_ok();
        sender.send(if is_read { line } else { String::new() }).ok();
    });
    receiver.await.unwrap_or_default()
}

fn consent(drops: Drops, place: Place, yes: bool) -> Consent {
    let is_production = place.environment == Environment::Production;
    match drops {
        Drops::Everything { force: false } if is_production => {
            Consent::Refused("reset is refused in production: it needs --force and --yes".to_owned())
        }
        Drops::Everything { .. } if !yes && (is_production || !place.is_server_ours) => {
            Consent::Needed("reset drops everything that the migrations made on this server".to_owned())
        }
        Drops::Some(command) if !yes && is_production => {
            Consent::Needed(format!("{command} drops what the migration made, in production"))
        }
        _ => Consent::Given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A3: who must say yes, and where that does not help.
    #[test]
    fn a_yes_is_needed_where_data_matters() {
        let check = |drops, environment, is_server_ours, yes, expect: &str| {
            let found = match consent(drops, Place { environment, is_server_ours }, yes) {
                Consent::Given => "given",
                Consent::Needed(_) => "needed",
                Consent::Refused(_) => "refused",
            };
            assert_eq!(found, expect, "{drops:?} {environment:?} {is_server_ours} {yes}");
        };
        use Environment::{Development, Production};
        let (reset, forced) = (Drops::Everything { force: false }, Drops::Everything { force: true });
        check(reset, Development, true, false, "given");
        check(reset, Development, false, false, "needed");
        check(reset, Development, false, true, "given");
        check(reset, Production, true, true, "refused");
        check(forced, Production, true, false, "needed");
        check(forced, Production, false, true, "given");
        check(forced, Development, false, false, "needed");
        check(Drops::Some("down"), Development, false, false, "given");
        check(Drops::Some("down"), Production, true, false, "needed");
        check(Drops::Some("down"), Production, false, true, "given");
    }
}
