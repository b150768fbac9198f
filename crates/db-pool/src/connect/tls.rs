//! A TLS session with a server: asking for one as PostgreSQL does, the handshake, and what went wrong in it.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, OnceLock};

use db_core::Cause;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate::binding;
use super::failed::{Failed, Stage};
use super::files;
use super::transport::Transport;
use super::verify::{Check, Verifier};
use crate::target::{Roots, Tls, TlsMode};

/// Length 8 and the number that stands for a request of TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// One provider, whatever others this process installs.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &PROVIDER
}

/// Asks whether the server speaks TLS. Not a byte more than the answer is read: whatever somebody in between adds in the
/// clear becomes a part of the handshake, and breaks it.
pub(super) async fn request(stream: &mut TcpStream) -> Result<bool, Failed> {
    let lost = |error: &io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Failed::unreachable("the server closed the connection when it was asked for TLS")
        }
        _ => Failed::io(error),
    };
    stream.write_all(&SSL_REQUEST).await.map_err(|error| lost(&error))?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(|error| lost(&error))?;
    match answer {
        [b'S'] => Ok(true),
        [b'N'] => Ok(false),
        // Its words are not shown: they come from whoever answers, before anything is checked.
        [b'E'] => Err(Failed::unreachable("the server answered the request for TLS with an error")),
        _ => {
            let message = "what answers there does not speak PostgreSQL's protocol";
            Err(Failed::misuse(Stage::Reach, message))
        }
    }
}

/// Makes the session. `host` is whom we mean to talk to; `address` stands in where that is no name for TLS.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    address: IpAddr,
    tls: &Tls,
) -> Result<Transport, Failed> {
    let refusal = Arc::new(OnceLock::new());
    let mut config = client_config(host, tls, Arc::clone(&refusal)).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(address));
    config.enable_sni = matches!(name, ServerName::DnsName(_));
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = connected.map_err(|error| failure(&error, refusal.get().map(String::as_str)))?;
    let (_, session) = stream.get_ref();
    let binding = session.peer_certificates().and_then(|certificates| binding(certificates.first()?));
    Ok(Transport::encrypted(stream, binding))
}

async fn client_config(
    host: &str,
    tls: &Tls,
    refusal: Arc<OnceLock<String>>,
) -> Result<ClientConfig, Failed> {
    let verifier =
        Verifier::new(check(host, tls).await?, provider().signature_verification_algorithms, refusal);
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failed::misuse(Stage::Setup, format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match files::identity(tls).await? {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    // The configuration ends with the handshake, and the server keeps no sessions either.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What libpq checks in each mode. Where unencrypted is as good, a certificate is not looked at: a refusal would only
/// lead to a session in the clear.
async fn check(host: &str, tls: &Tls) -> Result<Check, Failed> {
    Ok(match (tls.mode, &tls.roots) {
        (TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer, _) | (TlsMode::Require, Roots::System) => {
            Check::Nothing
        }
        (TlsMode::Require, Roots::File(_)) | (TlsMode::VerifyCa, _) => {
            Check::Chain(files::trusted(&tls.roots).await?)
        }
        (TlsMode::VerifyFull, _) => Check::ChainAndName(files::trusted(&tls.roots).await?, host.to_owned()),
    })
}

fn failure(error: &io::Error, refusal: Option<&str>) -> Failed {
    if let Some(refusal) = refusal {
        return Failed::new(Stage::Handshake, Cause::CertificateRefused, refusal);
    }
    if let Some(refused) = own_certificate_refused(error) {
        return refused;
    }
    let (cause, message) = match rustls_error(error) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            (Cause::CertificateRefused, format!("the server's certificate is refused: {error}"))
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            (Cause::CertificateRefused, "the server shows no certificate".to_owned())
        }
        Some(error) => (Cause::Misuse, format!("no TLS session: {error}")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            (Cause::Unreachable, "the server closed the connection during the TLS handshake".to_owned())
        }
        None => (Cause::Unreachable, format!("no TLS session: {error}")),
    };
    Failed::new(Stage::Handshake, cause, message)
}

/// The server's word on our own certificate. It may come with the handshake, or with the first bytes after it.
pub(super) fn own_certificate_refused(error: &(dyn StdError + 'static)) -> Option<Failed> {
    let Some(rustls::Error::AlertReceived(alert)) = rustls_error(error) else { return None };
    let why = match alert {
        AlertDescription::UnknownCA => "it does not trust who signed it",
        AlertDescription::CertificateExpired => "it expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::CertificateRequired => "there is none (sslcert)",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "it is of no use there",
        _ => return None,
    };
    let message = format!("the server refused our certificate: {why}");
    Some(Failed::new(Stage::Handshake, Cause::CertificateRefused, message))
}

/// The error of rustls somewhere beneath. One inside an I/O error is not among its sources, hence the second look.
fn rustls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match within {
            Some(within) => Some(within as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}
