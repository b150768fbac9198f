//! Servers that are none, or that somebody in between speaks for.

use db_pool::{Target, Tls, TlsMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio_postgres::Config;

use super::server::{TlsServer, outcome};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Answers the request for TLS with `answer`, and gives back what came after it.
async fn impostor(answer: &'static [u8]) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("a request");
        assert_eq!(request, SSL_REQUEST);
        stream.write_all(answer).await.expect("an answer");
        let mut rest = vec![0; 1024];
        let length = stream.read(&mut rest).await.unwrap_or(0);
        rest.truncate(length);
        rest
    });
    (port, heard)
}

fn target(port: u16, mode: TlsMode) -> Target {
    let config: Config = format!("postgres://app:hunter2@127.0.0.1:{port}/d").parse().expect("a URL");
    Target::from(config).with_tls(Tls::new(mode))
}

/// D10: nothing is said in the clear after a server without TLS was asked for it.
#[tokio::test]
async fn nothing_is_said_in_the_clear() {
    for (answer, expect) in [
        (&b"N"[..], "the server does not support TLS, but sslmode=require requires it"),
        (b"E", "the server answered the request for TLS with an error"),
        (b"H", "what answers there does not speak PostgreSQL's protocol"),
        (b"", "no answer within 300ms"),
    ] {
        let (port, heard) = impostor(answer).await;
        let mut config: Config = format!("postgres://app@127.0.0.1:{port}/d").parse().expect("a URL");
        config.connect_timeout(std::time::Duration::from_millis(300));
        let found = outcome(&Target::from(config).with_tls(Tls::new(TlsMode::Require))).await;
        assert_eq!(found, expect);
        assert_eq!(heard.await.expect("no panic"), b"", "{expect}");
    }
}

/// A12: whoever answers for many hosts is told which one is meant; an address is not a name.
#[tokio::test]
async fn the_name_is_told_and_an_address_is_not() {
    for (name, is_told) in [("db.example.org", true), ("127.0.0.1", false)] {
        let (port, heard) = impostor(b"S").await;
        let mut config = Config::new();
        config.host(name).hostaddr([127, 0, 0, 1].into()).port(port).user("app");
        let found = outcome(&Target::from(config).with_tls(Tls::new(TlsMode::Require))).await;
        assert!(found.contains("closed") || found.contains("reset"), "{found}");
        let heard = heard.await.expect("no panic");
        let has = heard.windows(name.len()).any(|part| part == name.as_bytes());
        assert_eq!(has, is_told, "{name}");
    }
}

/// D10: what somebody puts between the answer and the handshake breaks the handshake; it is never taken for the server's.
#[tokio::test]
async fn what_is_put_in_before_the_handshake_is_not_believed() {
    // Authentication is done, and the server is ready.
    let (port, _heard) = impostor(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await;
    let found = outcome(&target(port, TlsMode::Require)).await;
    assert!(found.starts_with("no TLS session: "), "{found}");

    // The same before the handshake of a real server.
    let server = TlsServer::shared().await;
    let port = server.config("app").get_ports()[0];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let between = listener.local_addr().expect("a port").port();
    let relay = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
        let mut request = [0; 8];
        client.read_exact(&mut request).await.expect("a request");
        server.write_all(&request).await.expect("passed on");
        let mut answer = [0];
        server.read_exact(&mut answer).await.expect("an answer");
        client.write_all(&[answer[0], b'N', 0, 0, 0, 4]).await.expect("more than the answer");
        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
    });
    let found = outcome(&target(between, TlsMode::Require)).await;
    assert!(found.starts_with("no TLS session: "), "{found}");
    relay.abort();
}

/// A socket of this machine is not encrypted, whatever the mode: nobody is in between.
#[tokio::test]
async fn a_socket_is_never_encrypted() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut begin = [0; 8];
        stream.read_exact(&mut begin).await.expect("a startup message");
        begin
    });
    let mut config = Config::new();
    config.host_path(folder.path()).user("app");
    let target = Target::from(config).with_tls(Tls::new(TlsMode::VerifyFull));
    let found = outcome(&target).await;
    assert!(found.contains("closed") || found.contains("reset"), "{found}");
    // Version 3.0 of the protocol: no request for TLS came before.
    assert_eq!(heard.await.expect("no panic")[4..], [0, 3, 0, 0]);
}
