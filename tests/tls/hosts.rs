//! Several hosts: the first that answers and suits, and what is said when none does.

use std::time::{Duration, Instant};

use db_core::{Action, Operation, Query};
use db_pool::{Target, Tls, TlsMode};
use tokio::net::TcpListener;
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::server::{TlsServer, outcome};

/// A port where nobody listens.
async fn dead() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("a port").port()
}

/// These hosts of this machine, and then the server.
fn before(server: &TlsServer, others: &[u16]) -> Config {
    let given = server.config("app");
    let mut config = Config::new();
    for port in others.iter().chain(given.get_ports()) {
        config.host("127.0.0.1").port(*port);
    }
    config.user("app").password(super::server::PASSWORD).dbname("postgres");
    config
}

/// A host that is down or silent does not keep the next from being tried, within the one limit.
#[tokio::test]
async fn the_next_host_is_tried() {
    let server = TlsServer::shared().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let others = [dead().await, silent.local_addr().expect("a port").port()];
    let mut config = before(&server, &others);
    config.connect_timeout(Duration::from_secs(2));
    let begin = Instant::now();
    for mode in [TlsMode::Disable, TlsMode::VerifyFull] {
        let target = Target::from(config.clone()).with_tls(server.tls(mode));
        let expect = if mode == TlsMode::Disable { "plain" } else { "encrypted" };
        assert_eq!(outcome(&target).await, expect);
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

/// A server's refusal is the last word: the next host would only hide what is wrong.
#[tokio::test]
async fn a_refusal_is_final() {
    let server = TlsServer::shared().await;
    let mut config = before(&server, &[dead().await]);
    config.host("127.0.0.1").port(dead().await).password("wrong");
    let target = Target::from(config).with_tls(Tls::new(TlsMode::Disable));
    let found = outcome(&target).await;
    assert_eq!(found, "password authentication failed for user \"app\" (28P01)");
}

/// When all hosts fail, it is said what became of each; a single one's error is its own.
#[tokio::test]
async fn every_failure_is_told() {
    let (one, two) = (dead().await, dead().await);
    let target = |text: &str| {
        Target::from(text.parse::<Config>().expect("a URL")).with_tls(Tls::new(TlsMode::Require))
    };
    let refused = "Connection refused (os error 111)";
    let single = target(&format!("postgres://app@127.0.0.1:{one}/d"));
    assert_eq!(outcome(&single).await, refused);
    let both = target(&format!("postgres://app@127.0.0.1:{one},127.0.0.1:{two}/d"));
    let expect = format!("127.0.0.1:{one}: {refused}; 127.0.0.1:{two}: {refused}");
    let error = both.connect().await.expect_err("nobody listens");
    assert!(error.to_string().ends_with(&expect), "{error}");
    assert_eq!(error.advice().on(Operation::Read), Action::Retry);

    let nowhere = target("postgres://app@no-such-host.invalid/d").connect().await.expect_err("no host");
    let is_final = nowhere.advice().on(Operation::Read) == Action::Never;
    // Where no name server answers, that may pass.
    assert!(is_final || nowhere.to_string().contains("Temporary failure"), "{nowhere}");
}

/// A silent server is given up in time, at whatever point it falls silent.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("a port").port();
    for mode in [TlsMode::Disable, TlsMode::Require] {
        let mut config: Config = format!("postgres://app@127.0.0.1:{port}/d").parse().expect("a URL");
        config.connect_timeout(Duration::from_millis(300));
        let begin = Instant::now();
        let found = outcome(&Target::from(config).with_tls(Tls::new(mode))).await;
        assert_eq!(found, "no answer within 300ms");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}

/// Of two servers the one is taken that takes writes, or the one that does not, as asked.
#[tokio::test]
async fn the_kind_of_session_decides() {
    let server = TlsServer::shared().await;
    let read_only = "-c default_transaction_read_only=on";
    let target = |wanted, options: &str| {
        let mut config = server.config("app");
        config.target_session_attrs(wanted).options(options);
        Target::from(config).with_tls(server.tls(TlsMode::VerifyFull))
    };
    let check = async |wanted, options, expect: &str| {
        assert_eq!(outcome(&target(wanted, options)).await, expect, "{wanted:?} {options}");
    };
    check(TargetSessionAttrs::Any, read_only, "encrypted").await;
    check(TargetSessionAttrs::ReadWrite, "", "encrypted").await;
    check(TargetSessionAttrs::ReadWrite, read_only, "the session is read-only").await;
    check(TargetSessionAttrs::ReadOnly, read_only, "encrypted").await;
    check(TargetSessionAttrs::ReadOnly, "", "the session is not read-only").await;

    let error = target(TargetSessionAttrs::ReadOnly, "").connect().await.expect_err("it takes writes");
    assert_eq!(error.advice().on(Operation::Read), Action::Retry, "after a failover it may suit");
}

/// The options and the name of the target reach the session, and the user's name stands in for what is missing.
#[tokio::test]
async fn the_session_is_as_the_target_says() {
    let server = TlsServer::shared().await;
    let mut config = server.config("app");
    config.options("-c geqo=off").application_name("the tests");
    let target = Target::from(config).with_tls(server.tls(TlsMode::VerifyFull));
    let client = target.connect().await.expect("connect");
    let shown =
        "SELECT concat_ws(' ', current_user, current_setting('geqo'), current_setting('application_name'))";
    let shown: String = client.one(shown, &[]).await.expect("settings");
    assert_eq!(shown, "app off the tests");
}
