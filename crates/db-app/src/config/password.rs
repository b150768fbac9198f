//! Where the password comes from when it is not in the URL: a file or a command, both asked for each physical connect.

use std::sync::Arc;
use std::time::Duration;

use db_core::{Cause, CredentialProvider, Error, Phase, SecretString, Signal};
use db_pool::{CommandPassword, FilePassword, PasswordFn};

use super::Source;
use super::layers::Raw;
use super::read::{Reader, variable};

/// What says something about the password, besides the two variables of this file.
pub(super) struct Beside<'a> {
    /// Whether there is a server to have a password for.
    pub(super) is_server_given: bool,
    /// The URL, if it has one.
    pub(super) url: Option<&'a Raw<'a>>,
    /// The part, if it counts.
    pub(super) part: Option<&'a Raw<'a>>,
}

impl Reader<'_> {
    /// What gives the password. It wins over the part, which is often set for a container's sake; another password in the
    /// URL, or a second source, is an error: one of the two would be forgotten when passwords change.
    pub(super) fn credentials(&mut self, beside: &Beside<'_>) -> Option<Arc<dyn CredentialProvider>> {
        let file = self.find_and_show("DB_PASSWORD_FILE");
        let command = self.find("DB_PASSWORD_COMMAND");
        let shown = command.as_ref().map(|command| without_arguments(command.value));
        self.show(variable("DB_PASSWORD_COMMAND"), command.as_ref(), shown, Source::Default);
        let lifetime = Duration::from_secs(10 * 60);
        let lifetime = self.millis("DB_PASSWORD_COMMAND_LIFETIME_MS", lifetime, 1, Source::Default);

        let ours: Vec<_> = [&file, &command].into_iter().flatten().map(|raw| raw.name).collect();
        if !beside.is_server_given {
            let lines = ours.iter().map(|name| format!("{name} is ignored, since no server is given"));
            self.warnings.extend(lines);
            return None;
        }
        if let (Some(part), Some(name)) = (beside.part, ours.first()) {
            self.warnings.push(format!("{} is ignored, since {name} is set", part.name));
        }
        let sources: Vec<_> =
            beside.url.map(|url| url.name).into_iter().chain(ours.iter().copied()).collect();
        if sources.len() > 1 {
            self.errors.push(format!("{}: expected the password from one of them", sources.join(", ")));
        }
        if let Some(command) = command {
            let mut words = command.value.split_whitespace();
            let Some(program) = words.next() else {
                self.refuse(variable("DB_PASSWORD_COMMAND"), &command);
                return None;
            };
            return Some(Arc::new(CommandPassword::new(program, words).lifetime(lifetime)));
        }
        file.map(|file| Arc::new(FilePassword::new(file.value)) as Arc<dyn CredentialProvider>)
    }
}

/// The program may be shown; what it is told may be secret.
fn without_arguments(command: &str) -> String {
    match command.trim().split_once(char::is_whitespace) {
        Some((program, _)) => format!("{program} ***"),
        None => command.trim().to_owned(),
    }
}

/// The password that the environment's variable `name` holds, read for each physical connect.
///
/// Not used by [`Config`](crate::Config), which knows its variables by name; for services that name theirs otherwise.
#[must_use]
pub fn password_from_environment(name: impl Into<String>) -> impl CredentialProvider {
    let name = name.into();
    PasswordFn::new(move || {
        let value = std::env::var(&name).map(|value| Some(SecretString::from(value)));
        // The reason may quote the value.
        let value = value.map_err(|_| {
            let signal = Signal::new(Cause::Misuse, Phase::Connect);
            Error::new(signal, format!("{name} is not in the environment, or is not UTF-8"))
        });
        std::future::ready(value)
    })
}

#[cfg(test)]
#[path = "password_tests.rs"]
mod tests;
