//! What is said of a server's certificate, and that new ones are taken up without a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use db_core::{Action, Kind, Operation};
use db_pool::{Roots, Target, Tls, TlsMode};
use rcgen::{IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, date_time_ymd};
use tokio::time::sleep;

use super::server::{Authority, Signed, TlsServer, named, outcome, without_folder};
use crate::support::eventually;

/// A12, D10: each way in which a certificate can be wrong has an error of its own, in each mode that looks at it.
#[tokio::test]
async fn each_wrong_certificate_is_named() {
    let server = TlsServer::start().await;
    let authority = &server.authority;
    let check = async |signed: &Signed, mode, expect: &str| {
        server.show(signed).await;
        let target = server.target("app", mode);
        let mut last = String::new();
        // The server takes a moment to show another certificate.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            last = without_folder(&outcome(&target).await, &server.path("root.crt"));
            if last == expect {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(last, expect, "{mode:?}");
    };
    let dated = |from, to| {
        let mut params = named("a server", &["127.0.0.1"]);
        (params.not_before, params.not_after) = (from, to);
        authority.sign_as(&params, &KeyPair::generate().expect("a key"))
    };
    let own = |names: &[&str], is_authority| {
        let mut params = named("itself", names);
        params.is_ca = is_authority;
        let key = KeyPair::generate().expect("a key");
        Signed::new(&params.self_signed(&key).expect("a certificate"), &key)
    };

    let elsewhere = authority.sign(&["db.example.org", "10.0.0.1"]);
    let wrong_host =
        "the server's certificate is not for host \"127.0.0.1\", but for db.example.org, 10.0.0.1";
    check(&elsewhere, TlsMode::VerifyFull, wrong_host).await;
    check(&elsewhere, TlsMode::VerifyCa, "encrypted").await;

    let expired = dated(date_time_ymd(2020, 1, 1), date_time_ymd(2024, 1, 31));
    let text = "the server's certificate expired on 2024-01-31T00:00:00Z";
    check(&expired, TlsMode::VerifyFull, text).await;
    check(&expired, TlsMode::VerifyCa, text).await;
    // A root that is given is used.
    check(&expired, TlsMode::Require, text).await;
    check(&expired, TlsMode::Prefer, "encrypted").await;

    let early = dated(date_time_ymd(2190, 1, 1), date_time_ymd(2191, 1, 1));
    let text = "the server's certificate is not valid before 2190-01-01T00:00:00Z";
    check(&early, TlsMode::VerifyFull, text).await;

    let other = Authority::new("another authority").sign(&["127.0.0.1"]);
    let text = "the server's certificate is not signed by any of the certificates in FILE (sslrootcert)";
    check(&other, TlsMode::VerifyFull, text).await;
    check(&other, TlsMode::Require, text).await;
    check(&other, TlsMode::Prefer, "encrypted").await;

    // A name in the old place counts where there are no others.
    let key = KeyPair::generate().expect("a key");
    check(&authority.sign_as(&named("127.0.0.1", &[]), &key), TlsMode::VerifyFull, "encrypted").await;
    let key = KeyPair::generate().expect("a key");
    let both = authority.sign_as(&named("127.0.0.1", &["db.example.org"]), &key);
    let text = "the server's certificate is not for host \"127.0.0.1\", but for db.example.org";
    check(&both, TlsMode::VerifyFull, text).await;

    // One signed by itself is trusted when it is given for a root, whatever it says it is for.
    for kind in [IsCa::NoCa, IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
        let signed = own(&["127.0.0.1"], kind);
        server.file("root.crt", &signed.certificate);
        check(&signed, TlsMode::VerifyFull, "encrypted").await;
        let elsewhere = own(&["db.example.org"], IsCa::NoCa);
        server.file("root.crt", &elsewhere.certificate);
        let text = "the server's certificate is not for host \"127.0.0.1\", but for db.example.org";
        check(&elsewhere, TlsMode::VerifyFull, text).await;
    }
    server.file("root.crt", &authority.pem);

    // Another kind of key, and the older protocol.
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let other_kind = authority.sign_as(&named("a server", &["127.0.0.1"]), &key);
    check(&other_kind, TlsMode::VerifyFull, "encrypted").await;
    server.set("ssl_max_protocol_version = 'TLSv1.2'").await;
    check(&authority.sign(&["127.0.0.1"]), TlsMode::VerifyFull, "encrypted").await;
    check(&elsewhere, TlsMode::VerifyFull, wrong_host).await;
}

/// A12, D10: a name is checked also when its address is given; a refusal comes at once and is not worth another try.
#[tokio::test]
async fn the_host_that_was_asked_for_is_checked() {
    let server = TlsServer::shared().await;
    let target = |name| {
        let mut config = server.at(name, "app");
        config.hostaddr([127, 0, 0, 1].into());
        Target::from(config).with_tls(server.tls(TlsMode::VerifyFull))
    };
    assert_eq!(outcome(&target("localhost")).await, "encrypted");
    let begin = Instant::now();
    let error = target("db.example.org").connect().await.expect_err("another name");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let text = "the server's certificate is not for host \"db.example.org\", but for localhost, 127.0.0.1";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!((error.kind(), error.advice().on(Operation::Read)), (Kind::Connection, Action::Never));
}

/// A12, D10: nobody whom this system trusts signed the server's certificate.
#[tokio::test]
async fn the_roots_of_the_system_do_not_trust_anybody() {
    let server = TlsServer::shared().await;
    let target = Target::from(server.config("app"));
    let found = outcome(&target.clone().with_tls(Tls::new(TlsMode::VerifyCa))).await;
    let expect = [
        "the server's certificate is not signed by any of the root certificates of this system",
        // A machine for builds may have none.
        "this system has no root certificates: sslrootcert may name a file with some",
    ];
    assert!(expect.contains(&found.as_str()), "{found}");
    // `require` looks at the certificate only when it is told who may sign.
    assert_eq!(outcome(&target.with_tls(Tls::new(TlsMode::Require))).await, "encrypted");
}

/// A12: files that cannot be used are named, with the setting that names them, and nothing of what is in them.
#[tokio::test]
async fn unusable_files_are_named() {
    let server = TlsServer::shared().await;
    let signed = server.authority.sign(&["client"]);
    let file = |name: &str, text: &str| server.file(&format!("unusable_{name}"), text);
    let empty = file("empty", "");
    let broken = file("broken", "-----BEGIN CERTIFICATE-----\nhunter2\n");
    let nonsense = file("nonsense", "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n");
    let key = file("key", &signed.key);
    let other_key = file("other_key", &server.authority.sign(&["client"]).key);
    let locked = file(
        "locked",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let certificate = file("certificate", &signed.certificate);
    let missing = server.path("missing");

    let check = async |tls: Tls, file: &Path, expect: &str| {
        let error = Target::from(server.config("app")).with_tls(tls).connect().await.expect_err(expect);
        let text = without_folder(&error.to_string(), file);
        assert!(text.ends_with(expect), "{text}, not {expect}");
        assert!(!format!("{text} {error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(error.advice().on(Operation::Read), Action::Never, "{text}");
    };
    let roots = |file: &Path| Tls::new(TlsMode::VerifyFull).with_roots(Roots::File(file.to_owned()));
    let no_file = "cannot read sslrootcert FILE: No such file or directory (os error 2)";
    check(roots(&missing), &missing, no_file).await;
    check(roots(&empty), &empty, "sslrootcert FILE holds no certificate in PEM").await;
    check(roots(&broken), &broken, "sslrootcert FILE is not valid PEM").await;
    check(roots(&nonsense), &nonsense, "sslrootcert FILE: a certificate in it cannot be used").await;

    let identity = |certificate: &Path, key: &Path| Tls::new(TlsMode::Prefer).with_identity(certificate, key);
    let no_file = "cannot read sslcert FILE: No such file or directory (os error 2)";
    check(identity(&missing, &key), &missing, no_file).await;
    check(identity(&empty, &key), &empty, "sslcert FILE holds no certificate in PEM").await;
    let no_file = "cannot read sslkey FILE: No such file or directory (os error 2)";
    check(identity(&certificate, &missing), &missing, no_file).await;
    let no_key = "sslkey FILE holds no private key in PEM, or one that needs a passphrase";
    check(identity(&certificate, &certificate), &certificate, no_key).await;
    check(identity(&certificate, &locked), &locked, no_key).await;
    let other = format!("sslkey FILE is not the key of the certificate in sslcert {}", certificate.display());
    check(identity(&certificate, &other_key), &other_key, &other).await;
    let mut alone = identity(&certificate, &key);
    alone.key = None;
    check(alone, &key, "sslcert is given without sslkey").await;
}

/// A12, D10: when the server's certificate comes from a new authority, replacing the file of roots is enough.
#[tokio::test]
async fn new_roots_are_read_without_a_restart() {
    let server = TlsServer::start().await;
    let target = server.target("app", TlsMode::VerifyFull);
    assert_eq!(outcome(&target).await, "encrypted");

    let next = Authority::new("the next authority");
    server.show(&next.sign(&["127.0.0.1"])).await;
    eventually("the old roots do not do", async || outcome(&target).await.contains("is not signed by")).await;
    server.file("root.crt", &next.pem);
    assert_eq!(outcome(&target).await, "encrypted");
}
