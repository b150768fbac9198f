//! Which PostgreSQL is used: URL and parts, TLS, what is refused, and that no secret is shown.

use db_pool::{ChannelBinding, Roots};

use super::*;
use crate::config::tests::{layers, load, refused, shown};
use crate::config::{Config, Source};

fn given(values: &[(&str, &str)]) -> Target {
    match load(values).postgres {
        Postgres::Given(given) => *given,
        Postgres::Embedded(_) => panic!("a given server was expected"),
    }
}

/// A2: the connection string, or its parts under either team's names.
#[test]
fn parts_in_place_of_a_url() {
    let values = [
        ("DATABASE_HOST", "db.example"),
        ("DATABASE_PORT", "6543"),
        ("DATABASE_NAME", "shop"),
        ("POSTGRES_USER", "app"),
        ("POSTGRES_PASSWORD", "hunter2"),
    ];
    let expect = "postgres://app:***@db.example:6543/shop?sslmode=verify-full";
    assert_eq!(given(&values).masked(), expect);
    let config = load(&values);
    assert_eq!(shown(&config, "DATABASE_HOST").0, Some("db.example"));
    assert_eq!(shown(&config, "POSTGRES_PASSWORD").0, Some("***"));
    let here = given(&[("POSTGRES_PASSWORD", "hunter2")]).masked();
    assert_eq!(here, "postgres://postgres:***@localhost:5432/postgres?sslmode=prefer");
}

/// C9: no secret is shown, wherever it stands.
#[test]
fn a_url_is_shown_without_its_secrets() {
    let check = |url: &str, expect: &str| {
        let config = load(&[("DATABASE_URL", url), ("DB_HTTP_TOKEN", "0123456789abcdef")]);
        let expect = format!("postgres://{expect}?sslmode=verify-full");
        assert_eq!(shown(&config, "DATABASE_URL").0, Some(expect.as_str()), "{url}");
        let layers = layers(&[("DATABASE_URL", url)]);
        let all = format!("{config:?} {layers:?}");
        for secret in ["hunter2", "0123456789abcdef"] {
            assert!(!all.contains(secret), "{all}");
        }
    };
    check("postgres://app:hunter2@db/shop", "app:***@db:5432/shop");
    check("postgres://app@db/shop?password=hunter2", "app:***@db:5432/shop");
    check("postgres://app:hunter2@db/shop?password=hunter2", "app:***@db:5432/shop");
    check("postgres://app@db:1/shop", "app@db:1/shop");
    check("postgres://app:hun%40ter2@db,[::1]:2/shop", "app:***@db:5432,[::1]:2/shop");
    check("postgres://app:hunter2#pw@db/shop", "app:***@db:5432/shop");
    check("postgres://app:pw?hunter2@db/shop", "app:***@db:5432/shop");
    check("host=db user=app password=hunter2", "app:***@db:5432/app");
}

/// C9.
#[test]
fn a_malformed_url_is_refused_without_its_password() {
    let check = |url: &str, expect: &str| {
        let line = refused(&[("DATABASE_URL", url)]);
        assert!(!line.contains("hunter2"), "{line}");
        assert_eq!(line, format!("DATABASE_URL={expect}"), "{url}");
    };
    let form = "expected postgres://user:password@host:5432/database";
    let (url, port) = ("postgres://*** (environment):", "`port` must be a whole number from 1 to 65535");
    check("mysql://app:hunter2@db/shop", &format!("*** (environment): the scheme is not postgres; {form}"));
    check("postgres://app:hunter2@db:port/shop", &format!("{url} {port}"));
    check("postgres://app:hunter2/shop", &format!("{url} {port}"));
    check("postgres://app:x#hunter2@db:y/shop", &format!("{url} {port}"));
    check(
        "host=db user=app password=x hunter2=y",
        &format!("*** (environment): it has an unknown option; {form}"),
    );
    let at = "it has an @ too many: in a password it is written %40";
    check("postgres://app:pa@hunter2@db/shop", &format!("{url} {at}; {form}"));
    check("postgres://", &format!("{url} it names no host; {form}"));
    check("postgres://db/shop", &format!("{url} it names no user; {form}"));
    check("postgres://a:hunter2@db?sslcrl=x", &format!("{url} `sslcrl` is not supported"));
    let pair = "`sslcert` and `sslkey` are given both or not at all";
    check("postgres://a:hunter2@db?sslcert=x", &format!("{url} {pair}; {form}"));
}

/// A12: a variable wins over the URL.
#[test]
fn variables_of_tls() {
    let tls = given(&[
        ("DATABASE_URL", "postgres://a@db/d?sslmode=disable&channel_binding=disable"),
        ("DB_SSL_MODE", "verify-ca"),
        ("DB_SSL_ROOT_CERT", "/ca.pem"),
        ("DB_SSL_CERT", "/c.pem"),
        ("DB_SSL_KEY", "/k.pem"),
        ("DB_CHANNEL_BINDING", "require"),
    ])
    .tls()
    .clone();
    assert_eq!((tls.mode, tls.channel_binding), (TlsMode::VerifyCa, ChannelBinding::Require));
    assert_eq!(tls.roots, Roots::File("/ca.pem".into()));
    assert_eq!((tls.certificate, tls.key), (Some("/c.pem".into()), Some("/k.pem".into())));
    let repaired = [
        ("DATABASE_URL", "postgres://a@db/d?sslrootcert=system&sslmode=prefer"),
        ("DB_SSL_MODE", "verify-full"),
    ];
    assert_eq!(given(&repaired).tls().mode, TlsMode::VerifyFull);
    let parts = [("POSTGRES_HOST", "db"), ("DB_SSL_MODE", "require")];
    assert_eq!(given(&parts).tls().mode, TlsMode::Require);
    assert_eq!(shown(&load(&parts), "DB_SSL_MODE"), (Some("require"), Source::Environment));
}

#[test]
fn variables_of_tls_that_cannot_be_used() {
    let check = |name: &str, value: &str, expect: &str| {
        let values = [("DATABASE_URL", "postgres://a:hunter2@db/d"), (name, value)];
        assert_eq!(refused(&values), expect);
    };
    check(
        "DB_SSL_MODE",
        "on",
        "DB_SSL_MODE=on (environment): expected disable, allow, prefer, require, verify-ca or verify-full",
    );
    check(
        "DB_CHANNEL_BINDING",
        "no",
        "DB_CHANNEL_BINDING=no (environment): expected disable, prefer or require",
    );
    check("DB_SSL_CERT", "/c", "DB_SSL_CERT: `sslcert` and `sslkey` are given both or not at all");
    check("DB_ALLOW_PLAINTEXT", "1", "DB_ALLOW_PLAINTEXT=1 (environment): expected true or false");
}

/// B2, D10: in production TLS is required by itself.
#[test]
fn production_is_encrypted() {
    let check = |values: &[(&str, &str)], expect: Option<&str>| {
        let values = [&[("DB_ENV", "production")], values].concat();
        let line = Config::load(&layers(&values)).err().map(|error| error.to_string());
        let why = "in production the way to another machine must be encrypted: expected sslmode require, verify-ca \
                   or verify-full, or DB_ALLOW_PLAINTEXT=true";
        assert_eq!(line, expect.map(|given| format!("{given} (environment): {why}")), "{values:?}");
    };
    let url = |query: &'static str| ("DATABASE_URL", query);
    check(&[url("postgres://a@db/d")], None);
    check(&[("POSTGRES_HOST", "db")], None);
    for mode in ["disable", "allow", "prefer"] {
        let text = format!("postgres://a:hunter2@db/d?sslmode={mode}");
        let shown = format!("DATABASE_URL=postgres://a:***@db:5432/d?sslmode={mode}");
        check(&[("DATABASE_URL", &text)], Some(&shown));
        check(&[("DATABASE_URL", &text), ("DB_ALLOW_PLAINTEXT", "true")], None);
        check(&[("DATABASE_URL", &text), ("DB_SSL_MODE", "require")], None);
        let shown = format!("DB_SSL_MODE={mode}");
        check(&[url("postgres://a@db/d"), ("DB_SSL_MODE", mode)], Some(&shown));
        check(&[("POSTGRES_HOST", "db"), ("DB_SSL_MODE", mode)], Some(&shown));
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        check(&[url("postgres://a@db/d"), ("DB_SSL_MODE", mode)], None);
    }
    check(&[url("postgres://a@localhost/d?sslmode=disable")], None);
    check(&[url("host=/run/postgresql user=a sslmode=disable")], None);
    check(
        &[url("postgres://a@localhost,db/d?sslmode=prefer")],
        Some("DATABASE_URL=postgres://a@localhost:5432,db:5432/d?sslmode=prefer"),
    );
}

#[test]
fn parts_beside_a_url_are_a_warning() {
    let config = load(&[("DATABASE_URL", "postgres://a@b/c"), ("POSTGRES_USER", "x")]);
    assert_eq!(config.warnings, ["POSTGRES_USER is ignored, since DATABASE_URL is set"]);
}

#[test]
fn settings_of_a_server_that_is_not_given_are_a_warning() {
    let config = load(&[("DB_SSL_MODE", "require")]);
    assert_eq!(config.warnings, ["DB_SSL_MODE is ignored, since no server is given"]);
}

#[test]
fn a_part_that_cannot_be_used_is_named() {
    let check = |name, value, expect: &str| assert_eq!(refused(&[(name, value)]), expect);
    check("POSTGRES_HOST", "a b", "POSTGRES_HOST=a b (environment): expected a host name or address");
    check("DATABASE_HOST", "x@db", "DATABASE_HOST=x@db (environment): expected a host name or address");
    check("POSTGRES_PORT", "0", "POSTGRES_PORT=0 (environment): expected a whole number from 1 to 65535");
    check("POSTGRES_PORT", "x", "POSTGRES_PORT=x (environment): expected a whole number from 1 to 65535");
    check("POSTGRES_PASSWORD", "a\0b", "POSTGRES_PASSWORD=*** (environment): expected any text");
}
