//! Connection strings and what becomes of them, one case a line.

use std::time::Duration;

use db_core::ExposeSecret;

use super::*;
use crate::target::{ChannelBinding, Host, Roots, TargetSession, TlsMode};

fn target(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    let error = text.parse::<Target>().map(|target| target.masked()).expect_err(text).to_string();
    assert!(!error.contains("hunter2"), "{text}: {error}");
    error
}

fn password(text: &str) -> Option<String> {
    let builder: TargetBuilder = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    builder.password.map(|password| password.expose_secret().to_owned())
}

#[test]
fn both_forms_are_understood() {
    let check = |text: &str, expect: &str| {
        assert_eq!(target(text).masked(), format!("postgres://{expect}"), "{text}")
    };
    let full = "?sslmode=verify-full";
    check("postgres://app:hunter2@db/shop", &format!("app:***@db:5432/shop{full}"));
    check("postgresql://app:hunter2@db/shop", &format!("app:***@db:5432/shop{full}"));
    check("postgres://app@db", &format!("app@db:5432/app{full}"));
    check("postgres://app:@db/", &format!("app@db:5432/app{full}"));
    check("postgres://app@db:/shop", &format!("app@db:5432/shop{full}"));
    check("postgres://app@db?", &format!("app@db:5432/app{full}"));
    check("postgres://db/shop?user=app&password=hunter2", &format!("app:***@db:5432/shop{full}"));
    check("postgres:///shop?host=db&user=app", &format!("app@db:5432/shop{full}"));
    check("postgres://?host=db&user=app&dbname=shop&", &format!("app@db:5432/shop{full}"));
    check("postgres://app@:6543/shop?host=db", &format!("app@db:6543/shop{full}"));
    check("postgres://app@db/shop?host=other", &format!("app@other:5432/shop{full}"));
    check("postgres://app@db/shop?user=me@tenant", &format!("me%40tenant@db:5432/shop{full}"));
    check("postgres://me%40tenant:hunter2@db/a%2Fb", &format!("me%40tenant:***@db:5432/a%2Fb{full}"));
    check("postgres://app@db/caf%C3%A9", &format!("app@db:5432/café{full}"));
    check("postgres://app@[2001:db8::1]:6543/shop", &format!("app@[2001:db8::1]:6543/shop{full}"));
    check("postgres://app@a:1,[::2]:2,c/shop", &format!("app@a:1,[::2]:2,c:5432/shop{full}"));
    check("postgres://app@a,b/shop?port=6543", &format!("app@a:6543,b:6543/shop{full}"));
    check("postgres://app@/shop?hostaddr=10.0.0.1", &format!("app@10.0.0.1:5432/shop{full}"));
    check("postgres://app@%2Frun%2Fpostgresql/shop", "app@%2Frun%2Fpostgresql:5432/shop?sslmode=prefer");
    check("postgres://app@%2Frun:6543,db/shop", &format!("app@%2Frun:6543,db:5432/shop{full}"));
    check("host=db user=app", &format!("app@db:5432/app{full}"));
    check("host=db user=app password=hunter2 dbname=shop", &format!("app:***@db:5432/shop{full}"));
    check(" host = db\n user =\tapp ", &format!("app@db:5432/app{full}"));
    check(
        "host=db user='o\\'brien \\\\ sons'",
        &format!("o%27brien%20%5C%20sons@db:5432/o%27brien%20%5C%20sons{full}"),
    );
    check("host=db user=a\\ b", &format!("a%20b@db:5432/a%20b{full}"));
    check("host='db'user='app'", &format!("app@db:5432/app{full}"));
    check("host=a,b port=1,2 user=app", &format!("app@a:1,b:2/app{full}"));
    check("host=a,b port=,2 user=app", &format!("app@a:5432,b:2/app{full}"));
    check("host=a,b port=1 user=app", &format!("app@a:1,b:1/app{full}"));
    check("host=a host=b user=app", &format!("app@b:5432/app{full}"));
    check("host=/run/postgresql user=app", "app@%2Frun%2Fpostgresql:5432/app?sslmode=prefer");
    check("host=fe80::1%eth0 user=app", &format!("app@[fe80::1%25eth0]:5432/app{full}"));
    check("host=db port=' 6543 ' user=app", &format!("app@db:6543/app{full}"));
}

#[test]
fn passwords() {
    let check = |text: &str, expect: &str| assert_eq!(password(text).as_deref(), Some(expect), "{text}");
    check("postgres://app:hunter2@db", "hunter2");
    check("postgres://app:a:b@db", "a:b");
    check("postgres://app:a?b#c&d=e@db", "a?b#c&d=e");
    check("postgres://app:%40%2f%25%20+@db", "@/% +");
    check("postgres://app:x@db?password=y", "y");
    check("host=db password=hunter2", "hunter2");
    check("host=db password='a b\\'c\\\\d'", "a b'c\\d");
    check("host=db password=a\\'b'c", "a'b'c");
    check("host=db password=pass=word", "pass=word");
    check("password= host=db", "host=db");
    for none in ["postgres://app@db", "postgres://app:@db", "host=db password=''", "host=db password="] {
        assert_eq!(password(none), None, "{none}");
    }
}

#[test]
fn tls_is_the_default_unless_every_server_is_here() {
    let check = |text: &str, expect: TlsMode| assert_eq!(target(text).tls.mode, expect, "{text}");
    check("postgres://app@db", TlsMode::VerifyFull);
    check("postgres://app@10.0.0.1", TlsMode::VerifyFull);
    check("postgres://app@localhost,db", TlsMode::VerifyFull);
    check("postgres://app@localhost.example", TlsMode::VerifyFull);
    check("postgres://app@localhost?hostaddr=10.0.0.1", TlsMode::VerifyFull);
    check("postgres://app@localhost", TlsMode::Prefer);
    check("postgres://app@127.0.0.2,[::1]", TlsMode::Prefer);
    check("postgres://app@db?hostaddr=127.0.0.1", TlsMode::Prefer);
    check("postgres://app@%2Frun", TlsMode::Prefer);
    check("postgres://app@localhost?sslrootcert=system", TlsMode::VerifyFull);
    check("postgres://app@db?sslmode=disable", TlsMode::Disable);
    check("postgres://app@db?sslmode=allow", TlsMode::Allow);
    check("postgres://app@db?sslmode=prefer", TlsMode::Prefer);
    check("postgres://app@db?sslmode=require", TlsMode::Require);
    check("postgres://app@db?sslmode=verify-ca", TlsMode::VerifyCa);
    check("postgres://app@localhost?sslmode=verify-full", TlsMode::VerifyFull);
}

#[test]
fn what_tls_is_made_of() {
    let tls =
        target("postgres://app@db?sslrootcert=/ca.pem&sslcert=c.pem&sslkey=k.pem&channel_binding=require")
            .tls;
    assert_eq!(tls.roots, Roots::File("/ca.pem".into()));
    assert_eq!((tls.certificate, tls.key), (Some("c.pem".into()), Some("k.pem".into())));
    assert_eq!(tls.channel_binding, ChannelBinding::Require);
    assert_eq!(target("postgres://app@db?sslrootcert=system").tls.roots, Roots::System);
    assert_eq!(
        target("postgres://app@db?channel_binding=disable").tls.channel_binding,
        ChannelBinding::Disable
    );
    assert_eq!(target("postgres://app@db?sslrootcert=").tls.roots, Roots::System);
}

#[test]
fn hosts_names_and_addresses() {
    let hosts = |text: &str| target(text).hosts;
    let tcp = |name: &str, address: Option<&str>, port| Host {
        name: crate::target::HostName::Tcp(name.to_owned()),
        address: address.map(|address| address.parse().expect("an address")),
        port,
    };
    assert_eq!(
        hosts("user=a host=x,y hostaddr=10.0.0.1,"),
        [tcp("x", Some("10.0.0.1"), 5432), tcp("y", None, 5432)]
    );
    assert_eq!(hosts("user=a host=,y hostaddr=::1,::2")[0], tcp("::1", Some("::1"), 5432));
    assert_eq!(hosts("user=a hostaddr=10.0.0.1 port=1"), [tcp("10.0.0.1", Some("10.0.0.1"), 1)]);
    let built: TargetBuilder = "user=a host=x,y port=1".parse().expect("a builder");
    let built = built.host("z", 3).build().expect("a target");
    assert_eq!(built.hosts, [tcp("x", None, 1), tcp("y", None, 1), tcp("z", None, 3)]);
}

#[test]
fn sessions_times_and_names() {
    let session = |word: &str| target(&format!("postgres://a@h?target_session_attrs={word}")).session;
    assert_eq!(session("any"), TargetSession::Any);
    assert_eq!(session("read-write"), TargetSession::ReadWrite);
    assert_eq!(session("read-only"), TargetSession::ReadOnly);
    assert_eq!(session("primary"), TargetSession::Primary);
    assert_eq!(session("standby"), TargetSession::Standby);
    assert_eq!(session("prefer-standby"), TargetSession::PreferStandby);

    let with = |options: &str| target(&format!("host=h user=a {options}"));
    let seconds = Duration::from_secs;
    assert_eq!(with("connect_timeout=3").connect_timeout, Some(seconds(3)));
    assert_eq!(with("connect_timeout=0").connect_timeout, None);
    assert_eq!(with("tcp_user_timeout=1500").tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(with("tcp_user_timeout=0").tcp_user_timeout, Some(Duration::ZERO));
    assert_eq!(with("").tcp_user_timeout, None);
    let keepalives =
        with("keepalives=0 keepalives_idle=7 keepalives_interval=8 keepalives_count=9").keepalives;
    assert_eq!((keepalives.enabled, keepalives.idle), (false, seconds(7)));
    assert_eq!((keepalives.interval, keepalives.retries), (Some(seconds(8)), Some(9)));
    assert_eq!(with("keepalives_retries=4").keepalives.retries, Some(4));
    assert_eq!(with("keepalives=1 keepalives_idle=0").keepalives, super::super::Keepalives::default());
    assert!(with("load_balance_hosts=random").shuffles_hosts);
    assert!(!with("load_balance_hosts=disable").shuffles_hosts);
    assert_eq!(with("options='-c geqo=off'").options.as_deref(), Some("-c geqo=off"));
    assert_eq!(with("application_name=x fallback_application_name=y").application_name.as_deref(), Some("x"));
    assert_eq!(with("fallback_application_name=y").application_name.as_deref(), Some("y"));
    for harmless in
        ["client_encoding=utf8", "client_encoding=auto", "gssencmode=disable", "gssencmode=prefer"]
    {
        with(harmless);
    }
    with(
        "sslnegotiation=postgres sslcompression=0 sslsni=1 ssl_min_protocol_version=TLSv1.2 replication=false",
    );
}

#[test]
fn what_cannot_be_taken_apart() {
    let check = |text: &str, expect: &str| assert_eq!(refused(text), expect, "{text}");
    let pairs =
        "it is neither a postgres:// URL nor a list of name=value, or a value with spaces is not in quotes";
    check("", "it names no host");
    check("hunter2", pairs);
    check("host=db user=app password=x hunter2 dbname=y", pairs);
    check("=", "it has an unknown option");
    check("host", pairs);
    check("host=db user=app password='hunter2", "a quote in it is not closed");
    check("host=db user=app password='hunter2\\'", "a quote in it is not closed");
    check("mysql://app:hunter2@db/shop", "the scheme is not postgres");
    check("Postgres://app:hunter2@db/shop", "the scheme is not postgres");
    check("jdbc:postgresql://db/shop?password=hunter2", "the scheme is not postgres");
    check("postgres:/app:hunter2@db", pairs);
    check("host=db\0 password=hunter2", "it has a NUL byte");
    check("postgres://app:hunter2%00@db", "it has a NUL byte");
    let percent = "a % in it is not followed by two hexadecimal digits: in a password it is written %25";
    for text in ["hunter2%", "hunter2%4", "%zzhunter2", "hunter2%%", "hunter2%é0"] {
        check(&format!("postgres://app:{text}@db"), percent);
    }
    check("postgres://app:hunter2%ff@db", "what it encodes by % is not UTF-8");
    check("postgres://app@[::1", "a bracket around an address in it is not closed");
    check("postgres://app@[]/x", "brackets in it are without an address");
    check("postgres://app@[::1]x/y", "behind an address in brackets a port is expected");
    let options = "behind its ? options are expected as name=value, joined by &";
    for text in ["hunter2", "=hunter2=", "sslmode", "a=b=c", "sslmode=prefer&&", "&sslmode=prefer"] {
        check(&format!("postgres://app@db?{text}"), options);
    }
}

#[test]
fn a_password_with_a_sign_that_ends_it() {
    let check = |text: &str, expect: &str| assert_eq!(refused(text), expect, "{text}");
    let at = "it has an @ too many: in a password it is written %40";
    let slash = "it has a / before the @: in a password it is written %2F";
    check("postgres://app:pa@hunter2@db/shop", at);
    check("postgres://app:pa@hunter2/x@db/shop", at);
    check("postgres://app:pa/hunter2@db/shop", slash);
    check("postgres://app:12/hunter2@db/shop", slash);
    check("host=hunter2@db user=app", at);
    check("postgres://app@hunter2%40db", at);
    check(
        "postgres://db?user=app&password=hunter2@x",
        "it has a ? in front of the @: there it is written %3F, and @ %40",
    );
    check("postgres://app:pa@x?hunter2=y@db/shop", "it has an unknown option");
    check("postgres://app:pa@x?secret=y@db/shop", "it has an unknown option");
    check("host=db password=x secret=y", "it has an unknown option");
}

#[test]
fn what_is_missing_or_does_not_belong_together() {
    let check = |text: &str, expect: &str| assert_eq!(refused(text), expect, "{text}");
    check("postgres://", "it names no host");
    check("postgres:///shop", "it names no host");
    check("postgres://app@/shop", "it names no host");
    check("postgres://app@a,,b/shop", "it names no host");
    check("host='' user=app", "it names no host");
    check("host=, user=app", "it names no host");
    check("postgres://db/shop", "it names no user");
    check("host=db user=''", "it names no user");
    check("host=a,b,c port=1,2 user=app", "`port` has 2 values for 3 hosts");
    check("host=a port=1,2 user=app", "`port` has 2 values for 1 hosts");
    check("host=a hostaddr=::1,::2 user=app", "`hostaddr` has 2 values for 1 hosts");
    check("hostaddr=::1,::2 port=1,2,3 user=app", "`port` has 3 values for 2 hosts");
    check("host=/run hostaddr=10.0.0.1 user=app", "a socket has no `hostaddr`");
    let pair = "`sslcert` and `sslkey` are given both or not at all";
    check("host=db user=app sslcert=c", pair);
    check("host=db user=app sslkey=k", pair);
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        let text = format!("host=db user=app sslrootcert=system sslmode={mode}");
        check(&text, "sslrootcert=system needs sslmode=verify-full");
    }
    let binding = "channel_binding=require needs TLS, and sslmode=disable forbids it";
    check("host=db user=app sslmode=disable channel_binding=require", binding);
}

#[test]
fn values_that_an_option_does_not_take() {
    let check = |option: &str, expect: &str| {
        assert_eq!(refused(&format!("host=db user=app {option}")), expect, "{option}");
    };
    let modes = "`sslmode` must be disable, allow, prefer, require, verify-ca or verify-full";
    for value in ["hunter2", "''", "Require", "verify_full", "require,require"] {
        check(&format!("sslmode={value}"), modes);
    }
    for value in ["0", "65536", "-1", "hunter2", "1.0", "0x10", "99999999999999999999"] {
        check(&format!("port={value}"), "`port` must be a whole number from 1 to 65535");
    }
    for value in ["hunter2", "db", "10.0.0.256", "[::1]"] {
        check(&format!("hostaddr={value}"), "`hostaddr` must be an address for each host");
    }
    for value in ["'a b'", "a/b", "[::1]", "a:b", "a%b", "::1%", "10.0.0.1%eth0", "a#b"] {
        check(&format!("host={value}"), "`host` must be a host name, an address or the folder of a socket");
    }
    check("connect_timeout=-1", "`connect_timeout` must be a whole number from 0 to 86400");
    check("connect_timeout=2s", "`connect_timeout` must be a whole number from 0 to 86400");
    check("connect_timeout=''", "`connect_timeout` must be a whole number from 0 to 86400");
    check("keepalives=yes", "`keepalives` must be a whole number from 0 to 1");
    check("keepalives_idle=32768", "`keepalives_idle` must be a whole number from 0 to 32767");
    check("keepalives_interval=x", "`keepalives_interval` must be a whole number from 0 to 32767");
    check("keepalives_count=128", "`keepalives_count` must be a whole number from 0 to 127");
    check("keepalives_retries=128", "`keepalives_retries` must be a whole number from 0 to 127");
    check("tcp_user_timeout=86400001", "`tcp_user_timeout` must be a whole number from 0 to 86400000");
    check("channel_binding=yes", "`channel_binding` must be disable, prefer or require");
    check("load_balance_hosts=true", "`load_balance_hosts` must be disable or random");
    check("client_encoding=LATIN1", "`client_encoding` must be UTF8, UTF-8 or auto");
    check("gssencmode=require", "`gssencmode` must be disable or prefer");
    check("sslnegotiation=direct", "`sslnegotiation` must be postgres");
    check("ssl_min_protocol_version=TLSv1.3", "`ssl_min_protocol_version` must be TLSv1, TLSv1.1 or TLSv1.2");
    check(
        "target_session_attrs=master",
        "`target_session_attrs` must be any, read-write, read-only, primary, standby or prefer-standby",
    );
}

#[test]
fn options_that_are_not_known_or_not_supported() {
    let check = |option: &str, expect: &str| {
        assert_eq!(refused(&format!("host=db user=app {option}=x")), expect, "{option}");
        assert_eq!(refused(&format!("postgres://app@db?{option}=x")), expect, "{option}");
    };
    check("sslmod", "it has an unknown option, `sslmod`");
    check("SSLMODE", "it has an unknown option");
    check("hunter2", "it has an unknown option");
    check("a_name_that_is_longer_than_any_option", "it has an unknown option");
    check("passfile", "`passfile` is not supported: give the password's file to the application");
    check("service", "`service` is not supported: name host, user and database");
    check("ssl", "`ssl` is not supported: `sslmode` says it");
    check("sslcrl", "`sslcrl` is not supported");
    check("sslcrldir", "`sslcrldir` is not supported");
    check("sslpassword", "`sslpassword` is not supported: the key must be without a password");
    check("require_auth", "`require_auth` is not supported");
    check("requirepeer", "`requirepeer` is not supported");
    check("krbsrvname", "`krbsrvname` is not supported");
}

#[test]
fn parts_pass_the_same_checks() {
    let check = |builder: TargetBuilder, expect: &str| {
        let built = builder.build().map(|target| target.masked());
        assert_eq!(built.unwrap_or_else(|error| error.to_string()), expect);
    };
    let app = || Target::builder().user("app");
    check(app().host("db", 5432), "postgres://app@db:5432/app?sslmode=verify-full");
    check(
        app().host("/run", 1).host("::1", 2).database("d").password("hunter2".into()),
        "postgres://app:***@%2Frun:1,[::1]:2/d?sslmode=prefer",
    );
    check(app().host("db", 1).tls_mode(TlsMode::Require), "postgres://app@db:1/app?sslmode=require");
    check(app(), "it names no host");
    check(app().host("", 1), "it names no host");
    check(app().host("db", 0), "`port` must be a whole number from 1 to 65535");
    check(app().host("a,b", 1), "`host` must be a host name, an address or the folder of a socket");
    check(app().host("hunter2@db", 1), "it has an @ too many: in a password it is written %40");
    check(app().host("/a\0", 1), "`host` must be a host name, an address or the folder of a socket");
    check(Target::builder().host("db", 1), "it names no user");
    check(app().user("").host("db", 1), "it names no user");
    check(app().host("db", 1).password("hun\0ter2".into()), "`password` must be a text without a NUL byte");
    check(app().host("db", 1).database("\0"), "`dbname` must be a text without a NUL byte");
    let error = app().option("sslmode", "hunter2").expect_err("no mode");
    assert_eq!(error.setting(), Some("sslmode"));
}
