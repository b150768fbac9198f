//! The one command that installs PostgreSQL on this machine. It is shown, never run.

use std::path::Path;

/// Package managers by the file that gives them away, and what they are told.
const MANAGERS: &[(&str, &str)] = &[
    ("/opt/homebrew/bin/brew", "brew install postgresql@17"),
    ("/usr/bin/apt-get", "apt-get install postgresql"),
    ("/usr/bin/dnf", "dnf install postgresql-server"),
    ("/usr/bin/zypper", "zypper install postgresql-server"),
    ("/usr/bin/pacman", "pacman -S postgresql"),
    ("/sbin/apk", "apk add postgresql"),
    ("/usr/local/bin/brew", "brew install postgresql@17"),
    ("/home/linuxbrew/.linuxbrew/bin/brew", "brew install postgresql@17"),
];

/// Says what to do on this machine.
pub(crate) fn hint() -> String {
    choose(|path| Path::new(path).exists())
}

fn choose(exists: impl Fn(&str) -> bool) -> String {
    match MANAGERS.iter().find(|(path, _)| exists(path)) {
        Some((_, command)) => format!("install it by: {command}"),
        None => "install it from https://www.postgresql.org/download/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_package_manager_that_is_there() {
        fn check(there: &[&str], expect: &str) {
            assert_eq!(choose(|path| there.contains(&path)), expect);
        }
        check(&["/usr/bin/apt-get"], "install it by: apt-get install postgresql");
        check(&["/usr/bin/dnf"], "install it by: dnf install postgresql-server");
        check(&["/usr/local/bin/brew"], "install it by: brew install postgresql@17");
        check(&[], "install it from https://www.postgresql.org/download/");
    }
}
