//! The six modes, against servers with and without TLS and with rules of their own.

use std::time::{Duration, Instant};

use db_core::{Action, Operation};
use db_pool::{Target, Tls, TlsMode};

use super::server::{TlsServer, is_encrypted, outcome};
use crate::support::database;

const MODES: [TlsMode; 6] = [
    TlsMode::Disable,
    TlsMode::Allow,
    TlsMode::Prefer,
    TlsMode::Require,
    TlsMode::VerifyCa,
    TlsMode::VerifyFull,
];

/// A12, D10: a server that takes both gets what the mode says.
#[tokio::test]
async fn each_mode_on_a_server_with_tls() {
    let server = TlsServer::shared().await;
    let mut outcomes = Vec::new();
    for mode in MODES {
        outcomes.push(outcome(&server.target("app", mode)).await);
    }
    assert_eq!(outcomes, ["plain", "plain", "encrypted", "encrypted", "encrypted", "encrypted"]);
}

/// A12, B2: without TLS the strict modes fail at once, say why, and are not worth another try.
#[tokio::test]
async fn each_mode_on_a_server_without_tls() {
    let database = database().await;
    for mode in MODES {
        let target = Target::from(database.config()).with_tls(Tls::new(mode));
        let begin = Instant::now();
        let name = match mode {
            TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => {
                assert_eq!(outcome(&target).await, "plain", "{mode:?}");
                continue;
            }
            TlsMode::Require => "require",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::VerifyFull => "verify-full",
        };
        let error = is_encrypted(&target).await.expect_err("no TLS there");
        let expect = format!("the server does not support TLS, but sslmode={name} requires it");
        assert!(error.to_string().ends_with(&expect), "{error}");
        assert_eq!(error.advice().on(Operation::Read), Action::Never);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}

/// A12: a server that insists on encryption is found with `allow`, one that refuses it with `prefer`.
#[tokio::test]
async fn a_refused_session_is_tried_the_other_way() {
    let server = TlsServer::shared().await;
    let check = async |role, mode, expect: &str| {
        let found = outcome(&server.target(role, mode)).await;
        assert!(found.starts_with(expect), "{role} {mode:?}: {found}");
    };
    check("tls_only", TlsMode::Disable, "pg_hba.conf rejects connection").await;
    check("tls_only", TlsMode::Allow, "encrypted").await;
    check("tls_only", TlsMode::Prefer, "encrypted").await;
    check("plain_only", TlsMode::Allow, "plain").await;
    check("plain_only", TlsMode::Prefer, "plain").await;
    check("plain_only", TlsMode::Require, "pg_hba.conf rejects connection").await;
}

/// A12: a wrong password is tried once, in whatever mode: the other way it is as wrong.
#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let server = TlsServer::shared().await;
    for mode in [TlsMode::Allow, TlsMode::Prefer] {
        let mut config = server.config("app");
        config.password("wrong");
        let error = Target::from(config).with_tls(server.tls(mode)).connect().await.expect_err("wrong");
        assert_eq!(error.sqlstate().map(|code| code.to_string()).as_deref(), Some("28P01"), "{error}");
        assert_eq!(error.advice().on(Operation::Read), Action::RefreshCredentials);
    }
}
