//! A [`Target`] as a connection string for people: made from what was understood, never from a text that was given, so that
//! no piece of a password can slip through.

use std::fmt::Write as _;

use super::{HostName, Target};

impl Target {
    /// A connection string without the password: `postgres://user:***@host:5432/database?sslmode=verify-full`.
    #[must_use]
    pub fn masked(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        let password = if self.has_password { ":***" } else { "" };
        let hosts = self.hosts.iter().map(|host| match &host.name {
            // Of an IPv6 address only the zone has a sign that means something else.
            HostName::Tcp(name) if name.contains(':') => {
                format!("[{}]:{}", name.replace('%', "%25"), host.port)
            }
            HostName::Tcp(name) => format!("{}:{}", encoded(name), host.port),
            HostName::Unix(folder) => format!("{}:{}", encoded(&folder.to_string_lossy()), host.port),
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let database = self.database.as_deref().unwrap_or(user);
        let mode = self.tls.mode.name();
        format!("postgres://{}{password}@{hosts}/{}?sslmode={mode}", encoded(user), encoded(database))
    }
}

/// With what has a meaning in a URL, and what cannot be seen, percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '$' | '*' | '+') {
            encoded.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}
