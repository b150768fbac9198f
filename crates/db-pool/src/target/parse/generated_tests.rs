//! Connection strings by the thousand: valid ones are understood, and of broken ones nothing is told but what is harmless.

use db_core::ExposeSecret;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::target::TlsMode;

/// No option, no accepted value and no word of a message holds it, nor a piece of it that is 4 letters long.
const PASSWORD: &str = "Zq7Wx9Kv5Jy3";

const SEEDS: &[&str] = &[
    "postgres://app:Zq7Wx9Kv5Jy3@db.example:5432/shop?sslmode=verify-full&application_name=x",
    "postgres://app:Zq7Wx9Kv5Jy3@a:1,[2001:db8::1]:2,c/shop?target_session_attrs=primary",
    "postgresql://app:%5aq7Wx9Kv5Jy3@%2Frun%2Fpostgresql/shop?connect_timeout=3",
    "postgres://db/shop?user=app&password=Zq7Wx9Kv5Jy3&sslrootcert=system",
    "host=db user=app password=Zq7Wx9Kv5Jy3 dbname=shop sslmode=require",
    "password='Zq7Wx9Kv5Jy3' host=a,b port=1,2 user='o\\'brien' options='-c geqo=off'",
    "user=app password = Zq7Wx9Kv5Jy3 hostaddr=10.0.0.1 keepalives=0 channel_binding=require",
];

/// Pieces that mean something to the parser.
const TOKENS: &[&str] = &[
    "@",
    "/",
    ":",
    "?",
    "&",
    "=",
    "%",
    "%4",
    "%00",
    "%40",
    "%2F",
    "%ff",
    "'",
    "\\",
    " ",
    "\n",
    ",",
    "[",
    "]",
    "#",
    "\0",
    "é",
    "://",
    "postgres://",
    "host=",
    "port=",
    "port=0",
    "sslmode=",
    "&sslmode=",
    "?sslmode=",
    " sslmode=",
    "password=",
    "sslcrl=x",
    "user=",
    "99999",
    "-1",
    "options=",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, Index),
    InsertChar(Index, char),
    Remove(Index, Index),
    Repeat(Index, Index),
    Swap(Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), index()).prop_map(|(at, token)| Mutation::Insert(at, token)),
        1 => (index(), any::<char>()).prop_map(|(at, c)| Mutation::InsertChar(at, c)),
        2 => (index(), index()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        1 => (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        1 => index().prop_map(Mutation::Cut),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let end = chars.len();
    let place = |index: &Index| index.index(end + 1);
    // At most 8 characters, so that something is left.
    let range = |from: &Index, to: &Index| {
        let from = place(from);
        from..(from + to.index(9)).min(end)
    };
    match mutation {
        Mutation::Insert(at, token) => {
            let at = place(at);
            chars.splice(at..at, token.get(TOKENS).chars());
        }
        Mutation::InsertChar(at, c) => chars.insert(place(at), *c),
        Mutation::Remove(from, to) => drop(chars.drain(range(from, to))),
        Mutation::Repeat(from, to) => {
            let range = range(from, to);
            let piece = chars[range.clone()].to_vec();
            chars.splice(range.end..range.end, piece);
        }
        Mutation::Swap(a, b) if end > 0 => chars.swap(a.index(end), b.index(end)),
        Mutation::Swap(..) => {}
        Mutation::Cut(at) => chars.truncate(place(at)),
    }
    chars.into_iter().collect()
}

/// Whether `text` tells of the password: any 4 letters of it.
fn tells(text: &str) -> bool {
    PASSWORD.as_bytes().windows(4).any(|piece| text.as_bytes().windows(4).any(|part| part == piece))
}

/// A name as users and databases may have it.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Zé0-9 '@/:?&=%\\\\_-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_-]{0,8}(\\.[a-z]{1,5})?",
        "/[a-z]{1,6}/[a-z.]{1,6}",
        Just("2001:db8::1".to_owned())
    ]
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { percent(host) }
}

const MODES: [(&str, TlsMode); 4] = [
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-full", TlsMode::VerifyFull),
];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(4000))]

    /// C9: whatever is wrong with it, no piece of the password is told.
    #[test]
    fn errors_of_broken_strings_tell_nothing(seed: Index, mutations in prop::collection::vec(mutation(), 1..6)) {
        let text = mutations.iter().fold((*seed.get(SEEDS)).to_owned(), |text, mutation| mutate(&text, mutation));
        if let Err(error) = text.parse::<Target>() {
            prop_assert!(!tells(&error.to_string()) && !tells(&format!("{error:?}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn random_strings_are_no_reason_to_panic(text in any::<String>(), start in 0_usize..3) {
        let start = ["", "postgres://", "host=h user="][start];
        if let Ok(target) = format!("{start}{text}").parse::<Target>() {
            let again: Target = target.masked().parse().expect("a masked one is one");
            prop_assert_eq!(again.masked(), target.masked());
        }
    }

    #[test]
    fn random_bytes_are_no_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let text = String::from_utf8_lossy(&bytes);
        text.parse::<Target>().map(drop).ok();
        format!("postgres://{text}").parse::<Target>().map(drop).ok();
    }

}

proptest! {
    #![proptest_config(cases(500))]

    /// Either form gives what went into it.
    #[test]
    fn valid_strings_are_understood(
        user in name(),
        password in name(),
        database in name(),
        hosts in prop::collection::vec((host(), 1..=u16::MAX), 1..4),
        mode in 0..MODES.len(),
    ) {
        let (word, mode) = MODES[mode];
        let join = |parts: Vec<String>| parts.join(",");
        let url = format!(
            "postgres://{}:{}@{}/{}?sslmode={word}",
            percent(&user),
            percent(&password),
            join(hosts.iter().map(|(host, port)| format!("{}:{port}", bracketed(host))).collect()),
            percent(&database),
        );
        let pairs = format!(
            "user={} password={} dbname={} host={} port={} sslmode={word}",
            quoted(&user),
            quoted(&password),
            quoted(&database),
            join(hosts.iter().map(|(host, _)| host.clone()).collect()),
            join(hosts.iter().map(|(_, port)| port.to_string()).collect()),
        );
        let mut parts = Target::builder().user(&*user).database(&*database).tls_mode(mode);
        for (host, port) in &hosts {
            parts = parts.host(host, *port);
        }
        let parts = parts.password(password.clone().into()).build().expect("valid parts");
        for text in [url, pairs] {
            let builder: TargetBuilder = text.parse().expect("a valid string");
            prop_assert_eq!(builder.password.as_ref().map(|password| password.expose_secret()), Some(&*password));
            let target = builder.build().expect("a valid string");
            prop_assert_eq!(&target.hosts, &parts.hosts);
            prop_assert_eq!((target.user(), target.database()), (Some(&*user), Some(&*database)));
            prop_assert_eq!(target.tls.mode, mode);
            prop_assert_eq!(target.masked(), parts.masked());
            let again: Target = target.masked().parse().expect("a masked one is one");
            prop_assert_eq!(again.masked(), target.masked());
        }
    }
}
