//! Cancelling a statement from outside its session: through the same door, in the same kind of session. It does not say
//! whether there was a statement to cancel; nobody does.

use std::io;
use std::sync::Arc;

use db_core::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::door::Door;
use super::failed::Failed;

/// Cancels what a connection is doing.
#[derive(Clone, Debug)]
pub(crate) struct Canceller {
    door: Arc<Door>,
    is_encrypted: bool,
}

impl Canceller {
    pub(super) fn new(door: Arc<Door>, is_encrypted: bool) -> Self {
        Self { door, is_encrypted }
    }

    /// Asks the server to cancel what its process does, and returns when it has passed that on. It has no time limit of its
    /// own.
    ///
    /// # Errors
    /// When the server cannot be reached in the way in which the connection was made: a request for an encrypted one is
    /// never sent in the clear, since its key would be known.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await; whether the request arrives is then not known.
    pub(crate) async fn cancel(&self, process_id: i32, secret_key: i32) -> Result<()> {
        self.ask(process_id, secret_key).await.map_err(|failed| failed.error)
    }

    async fn ask(&self, process_id: i32, secret_key: i32) -> Result<(), Failed> {
        let mut transport =
            if self.is_encrypted { self.door.encrypted().await? } else { self.door.plain().await? };
        let sent = async {
            transport.write_all(&request(process_id, secret_key)).await?;
            transport.flush().await
        };
        sent.await.map_err(|error| Failed::io(&error))?;
        // The server ends the connection once it has told the process: whoever goes on before may have the next
        // statement cancelled instead.
        let mut ignored = [0; 64];
        loop {
            match transport.read(&mut ignored).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_end(&error) => return Ok(()),
                Err(error) => return Err(Failed::io(&error)),
            }
        }
    }
}

/// Servers end these connections without the farewell of TLS.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Length 16, the number that stands for a request to cancel, the process and its key.
fn request(process_id: i32, secret_key: i32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let words = [16, 80_877_102, process_id, secret_key];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use db_core::{Action, Operation};
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};
    use tokio_rustls::TlsAcceptor;

    use super::super::dial::Place;
    use super::super::tls::provider;
    use super::*;
    use crate::target::{Target, Tls, TlsMode};

    const TAKES: Duration = Duration::from_millis(200);

    /// A canceller for a session that was encrypted, or was not, with whoever listens there.
    async fn canceller(listener: &TcpListener, is_encrypted: bool) -> Canceller {
        let address = listener.local_addr().expect("an address");
        let config: tokio_postgres::Config = format!("postgres://{address}").parse().expect("a URL");
        let target = Target::from(config).with_tls(Tls::new(TlsMode::Prefer));
        let door = Door::new(&target, &target.hosts[0], Place::Tcp(address));
        Canceller::new(Arc::new(door), is_encrypted)
    }

    fn acceptor() -> TlsAcceptor {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a configuration");
        TlsAcceptor::from(Arc::new(config))
    }

    #[tokio::test]
    async fn a_request_goes_the_way_of_the_session_and_waits_for_the_end() {
        for is_encrypted in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let canceller = canceller(&listener, is_encrypted).await;
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut heard = [0; 16];
                if is_encrypted {
                    stream.read_exact(&mut heard[..8]).await.expect("a request for TLS");
                    stream.write_all(b"S").await.expect("an answer");
                    let mut stream = acceptor().accept(stream).await.expect("a session");
                    stream.read_exact(&mut heard).await.expect("a request");
                    // As PostgreSQL: no farewell.
                    sleep(TAKES).await;
                } else {
                    stream.read_exact(&mut heard).await.expect("a request");
                    sleep(TAKES).await;
                }
                heard
            });
            let begin = Instant::now();
            canceller.cancel(258, -2).await.expect("cancelled");
            assert!(begin.elapsed() >= TAKES, "{:?}", begin.elapsed());
            let expect = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 2, 255, 255, 255, 254];
            assert_eq!(server.await.expect("no panic"), expect);
        }
    }

    #[tokio::test]
    async fn a_key_is_never_sent_in_the_clear_for_an_encrypted_session() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let canceller = canceller(&listener, true).await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut heard = vec![0; 8];
            stream.read_exact(&mut heard).await.expect("a request for TLS");
            stream.write_all(b"N").await.expect("an answer");
            heard.clear();
            stream.read_to_end(&mut heard).await.expect("the end");
            heard
        });
        let error = canceller.cancel(258, -2).await.expect_err("no TLS any more");
        assert_eq!(error.advice().on(Operation::Read), Action::Never, "{error}");
        assert_eq!(server.await.expect("no panic"), b"");
    }
}
