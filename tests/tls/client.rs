//! Our own certificate, and passwords that are bound to the session.

use db_core::{Action, Operation, Query};
use db_pool::{ChannelBinding, Target, TlsMode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use tokio_postgres::Config;

use super::server::{Authority, PASSWORD, TlsServer, named, outcome};
use crate::support::{database, eventually};

/// A12, D10: a server that asks for a certificate of ours gets it, and one that is not good is refused in words.
#[tokio::test]
async fn our_own_certificate_is_shown() {
    let server = TlsServer::shared().await;
    let target = |role: &str, authority: &Authority, subject: &str| {
        let signed = authority.sign_as(&named(subject, &[]), &KeyPair::generate().expect("a key"));
        let file = |what, text: &str| server.file(&format!("{role}_{subject}_{what}"), text);
        let tls = server.tls(TlsMode::VerifyFull);
        let tls = tls.with_identity(file("crt", &signed.certificate), file("key", &signed.key));
        Target::from(server.config(role)).with_tls(tls)
    };
    let good = target("by_certificate", &server.authority, "by_certificate");
    let client = good.connect().await.expect("by certificate");
    let subject = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let subject: String = client.one(subject, &[]).await.expect("a subject");
    assert_eq!(subject, "/CN=by_certificate");
    let both = target("with_certificate", &server.authority, "with_certificate");
    assert_eq!(outcome(&both).await, "encrypted");

    let other_name = target("by_certificate", &server.authority, "somebody");
    let found = outcome(&other_name).await;
    assert!(found.starts_with("certificate authentication failed for user"), "{found}");
    let other = target("by_certificate", &Authority::new("another authority"), "by_certificate");
    let found = outcome(&other).await;
    // The server may end the connection before its word is read.
    let expect = ["the server refused our certificate: it does not trust who signed it"];
    assert!(expect.contains(&found.as_str()) || found.contains("(os error"), "{found}");
    for role in ["by_certificate", "with_certificate"] {
        let found = outcome(&server.target(role, TlsMode::VerifyFull)).await;
        assert_eq!(found, "connection requires a valid client certificate (28000)");
    }
}

/// A12, D10: what has to be bound is bound, or there is no session.
#[tokio::test]
async fn a_password_is_bound_to_the_session_when_asked() {
    let server = TlsServer::shared().await;
    let target = |role, mode, binding| {
        Target::from(server.config(role)).with_tls(server.tls(mode).with_channel_binding(binding))
    };
    for binding in [ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require] {
        assert_eq!(outcome(&target("app", TlsMode::Require, binding)).await, "encrypted", "{binding:?}");
    }
    // Without encryption there is nothing to bind to: `allow` begins with it then.
    let found = outcome(&target("app", TlsMode::Allow, ChannelBinding::Require)).await;
    assert_eq!(found, "encrypted");
    let plain = "channel_binding=require, but the session is not encrypted";
    let found = outcome(&target("app", TlsMode::Disable, ChannelBinding::Require)).await;
    assert_eq!(found, plain);
    // A server that asks for no password proves nothing.
    let error = target("trusted", TlsMode::Require, ChannelBinding::Require).connect().await;
    let error = error.expect_err("nothing is bound");
    assert!(error.to_string().ends_with("server did not use channel binding"), "{error}");
    assert_eq!(error.advice().on(Operation::Read), Action::Never);
}

/// A12, D10: the server's end of a session is named by the hash of its certificate's signature; some have none.
#[tokio::test]
async fn the_binding_goes_by_the_certificates_signature() {
    let server = TlsServer::start().await;
    let undefined =
        "channel_binding=require, but the server's certificate is signed in a way for which none is defined";
    for (algorithm, expect) in [
        (&PKCS_ECDSA_P256_SHA256, "encrypted"),
        (&PKCS_ECDSA_P384_SHA384, "encrypted"),
        (&PKCS_ED25519, undefined),
    ] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let authority = Authority::with_key("another authority", key);
        server.show(&authority.sign(&["127.0.0.1"])).await;
        server.file("root.crt", &authority.pem);
        let target = |binding| {
            let tls = server.tls(TlsMode::VerifyFull).with_channel_binding(binding);
            Target::from(server.config("app")).with_tls(tls)
        };
        eventually("the new certificate", async || {
            outcome(&target(ChannelBinding::Prefer)).await == "encrypted"
        })
        .await;
        assert_eq!(outcome(&target(ChannelBinding::Require)).await, expect, "{algorithm:?}");
    }
}

/// A12: a password is not told to a server without TLS that must bind it.
#[tokio::test]
async fn nothing_is_bound_on_a_server_without_tls() {
    let database = database().await;
    let mut config: Config = database.config();
    config.password(PASSWORD);
    let tls = db_pool::Tls::new(TlsMode::Prefer).with_channel_binding(ChannelBinding::Require);
    let found = outcome(&Target::from(config).with_tls(tls)).await;
    assert_eq!(found, "channel_binding=require, but the session is not encrypted");
}
