//! The options by libpq's names: what each takes, which are not supported, and which may only say what is so anyway.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use db_core::SecretString;

use super::builder::{PORT_ACCEPTS, some};
use super::{ChannelBinding, ConfigError, Keepalives, Roots, TargetBuilder, TargetSession, TlsMode};

const DAY: u32 = 24 * 60 * 60;
/// The kernel takes no more for the pauses of keep-alive, in seconds, nor for its tries.
const MOST_PAUSE: u32 = 32_767;
const MOST_TRIES: u32 = 127;

const TLS_MODES: [TlsMode; 6] = [
    TlsMode::Disable,
    TlsMode::Allow,
    TlsMode::Prefer,
    TlsMode::Require,
    TlsMode::VerifyCa,
    TlsMode::VerifyFull,
];

const SESSIONS: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

const BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

/// Options that there is no choice in: accepted when they say what is done anyway.
const FIXED: &[(&str, &[&str])] = &[
    ("client_encoding", &["UTF8", "UTF-8", "auto"]),
    ("gssdelegation", &["0"]),
    ("gssencmode", &["disable", "prefer"]),
    ("replication", &["false", "off", "no", "0"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("sslcertmode", &["allow"]),
    ("sslcompression", &["0"]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
];

/// Options of libpq, and of JDBC, that to ignore would be less than was asked for; and what to do about it.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("gsslib", ""),
    ("krbsrvname", ""),
    ("max_protocol_version", ""),
    ("min_protocol_version", ""),
    ("oauth_ca_file", ""),
    ("oauth_client_id", ""),
    ("oauth_client_secret", ""),
    ("oauth_issuer", ""),
    ("oauth_scope", ""),
    ("passfile", ": give the password's file to the application"),
    ("require_auth", ""),
    ("requirepeer", ""),
    ("requiressl", ": `sslmode` says it"),
    ("scram_client_key", ""),
    ("scram_server_key", ""),
    ("service", ": name host, user and database"),
    ("servicefile", ": name host, user and database"),
    ("ssl", ": `sslmode` says it"),
    ("sslcrl", ""),
    ("sslcrldir", ""),
    ("sslkeylogfile", ""),
    ("sslpassword", ": the key must be without a password"),
];

impl TargetBuilder {
    /// Takes one option; the last word counts.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let text = || some(value.to_owned());
        match name {
            "host" => self.names = list(value).map(str::to_owned).collect(),
            "hostaddr" => self.addresses = list(value).map(address).collect::<Result<_, _>>()?,
            "port" => self.ports = list(value).map(port).collect::<Result<_, _>>()?,
            "user" => self.user = text(),
            "password" => self.password = text().map(SecretString::from),
            "dbname" => self.database = text(),
            "sslmode" => {
                self.mode = Some(word("sslmode", value, &TLS_MODES.map(|mode| (mode.name(), mode)))?);
            }
            "sslrootcert" => self.roots = text().map(roots),
            "sslcert" => self.certificate = text().map(PathBuf::from),
            "sslkey" => self.key = text().map(PathBuf::from),
            "channel_binding" => self.channel_binding = word("channel_binding", value, BINDINGS)?,
            "target_session_attrs" => self.session = word("target_session_attrs", value, SESSIONS)?,
            "load_balance_hosts" => {
                let words = [("disable", false), ("random", true)];
                self.shuffles_hosts = word("load_balance_hosts", value, &words)?;
            }
            "application_name" => self.application_name = text(),
            "fallback_application_name" => self.fallback_application_name = text(),
            "options" => self.options = text(),
            _ => return self.set_of_tcp(name, value),
        }
        Ok(())
    }

    /// Where 0 stands for the default, as in libpq, it is taken for ours.
    fn set_of_tcp(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let seconds = |setting, most| {
            let seconds = number(setting, value, 0..=most)?;
            Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
        };
        match name {
            "connect_timeout" => self.connect_timeout = seconds("connect_timeout", DAY)?,
            "keepalives" => self.keepalives.enabled = number("keepalives", value, 0..=1)? == 1,
            "keepalives_idle" => {
                let idle = seconds("keepalives_idle", MOST_PAUSE)?;
                self.keepalives.idle = idle.unwrap_or(Keepalives::default().idle);
            }
            "keepalives_interval" => self.keepalives.interval = seconds("keepalives_interval", MOST_PAUSE)?,
            "keepalives_count" => self.keepalives.retries = tries("keepalives_count", value)?,
            "keepalives_retries" => self.keepalives.retries = tries("keepalives_retries", value)?,
            // Here 0 is a wish of its own: no limit but the system's.
            "tcp_user_timeout" => {
                let millis = number("tcp_user_timeout", value, 0..=DAY * 1000)?;
                self.tcp_user_timeout = Some(Duration::from_millis(millis.into()));
            }
            _ => return fixed(name, value),
        }
        Ok(())
    }
}

/// Options that nothing is done about.
fn fixed(name: &str, value: &str) -> Result<(), ConfigError> {
    if let Some((setting, words)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        let is_accepted = words.iter().any(|word| word.eq_ignore_ascii_case(value));
        let accepts = || choice(words.iter().copied());
        return if is_accepted { Ok(()) } else { Err(ConfigError::value(setting, accepts())) };
    }
    if let Some((setting, instead)) = UNSUPPORTED.iter().find(|(unsupported, _)| *unsupported == name) {
        return Err(ConfigError::Unsupported { setting, instead });
    }
    let is_harmless =
        (1..=30).contains(&name.len()) && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    Err(ConfigError::UnknownOption(is_harmless.then(|| name.to_owned())))
}

/// An empty list has no elements; otherwise an element may be empty.
fn list(value: &str) -> impl Iterator<Item = &str> {
    (!value.is_empty()).then(|| value.split(',')).into_iter().flatten()
}

fn address(value: &str) -> Result<Option<std::net::IpAddr>, ConfigError> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| ConfigError::value("hostaddr", "an address for each host"))
}

fn port(value: &str) -> Result<Option<u16>, ConfigError> {
    if value.is_empty() {
        return Ok(None);
    }
    let port = value.trim().parse().ok().filter(|port| *port > 0);
    port.map(Some).ok_or_else(|| ConfigError::value("port", PORT_ACCEPTS))
}

fn roots(value: String) -> Roots {
    if value == "system" { Roots::System } else { Roots::File(PathBuf::from(value)) }
}

fn tries(setting: &'static str, value: &str) -> Result<Option<u32>, ConfigError> {
    Ok(Some(number(setting, value, 0..=MOST_TRIES)?).filter(|tries| *tries > 0))
}

fn number(setting: &'static str, value: &str, range: RangeInclusive<u32>) -> Result<u32, ConfigError> {
    value.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        ConfigError::value(setting, format!("a whole number from {} to {}", range.start(), range.end()))
    })
}

fn word<T: Copy>(setting: &'static str, value: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
    match words.iter().find(|(word, _)| *word == value) {
        Some((_, meaning)) => Ok(*meaning),
        None => Err(ConfigError::value(setting, choice(words.iter().map(|(word, _)| *word)))),
    }
}

/// `a, b or c`.
fn choice<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words.collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last.to_owned() } else { format!("{} or {last}", words.join(", ")) }
}
