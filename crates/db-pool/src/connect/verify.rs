//! Whether a server's certificate is good, as libpq judges it, and why not in words. The handshake's signature is checked
//! in every mode: without it a channel binding would prove nothing.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::Leaf;
use super::files::Trusted;

/// What is asked of a server's certificate.
#[derive(Clone, Debug)]
pub(super) enum Check {
    /// Nothing.
    Nothing,
    /// It is signed by somebody who is trusted.
    Chain(Arc<Trusted>),
    /// That, and it is for this host.
    ChainAndName(Arc<Trusted>, String),
}

/// Judges one server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
    refusal: Arc<OnceLock<String>>,
}

impl Verifier {
    /// What it has against the certificate is found in `refusal` afterwards: rustls tells the server only a code.
    pub(super) fn new(
        check: Check,
        algorithms: WebPkiSupportedAlgorithms,
        refusal: Arc<OnceLock<String>>,
    ) -> Self {
        Self { check, algorithms, refusal }
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let (trusted, name) = match &self.check {
            Check::Nothing => return Ok(()),
            Check::Chain(trusted) => (trusted, None),
            Check::ChainAndName(trusted, name) => (trusted, Some(name)),
        };
        let unreadable = || Refusal::new(CertificateError::BadEncoding, "cannot be read");
        let leaf = Leaf::read(certificate).ok_or_else(unreadable)?;
        check_dates(&leaf, now)?;
        if !trusted.exact.iter().any(|exact| exact.as_ref() == certificate.as_ref()) {
            if leaf.is_of_version_1() {
                let text =
                    "is of version 1 of X.509, of which the signature is not checked: version 3 is needed";
                return Err(Refusal::new(CertificateError::BadEncoding, text));
            }
            let parsed = ParsedCertificate::try_from(certificate).map_err(|_| unreadable())?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &trusted.store, others, now, algorithms)
                .map_err(|error| chain_refusal(&error, &leaf, trusted))?;
        }
        match name {
            Some(name) => check_name(&leaf, certificate, name),
            None => Ok(()),
        }
    }

    /// By the key alone, so that also certificates of version 1, which rustls does not read, have their signature checked.
    fn key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
        let leaf = Leaf::read(certificate).and_then(|leaf| leaf.public_key());
        leaf.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.judge(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(Refusal { code, text }) => {
                self.refusal.get_or_init(|| format!("the server's certificate {text}"));
                Err(Error::InvalidCertificate(code))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = Self::key(cert)?;
        let key = webpki::RawPublicKeyEntity::try_from(&key)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let fitting = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme);
        // In TLS 1.2 a scheme does not settle the curve: any of its algorithms may be the one.
        let is_valid = fitting
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok());
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &Self::key(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a certificate is refused: for the server, and in words that go on from "the server's certificate".
struct Refusal {
    code: CertificateError,
    text: String,
}

impl Refusal {
    fn new(code: CertificateError, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

fn check_dates(leaf: &Leaf, now: UnixTime) -> Result<(), Refusal> {
    let (begin, end) = leaf.validity();
    if now.as_secs() > end {
        Err(Refusal::new(CertificateError::Expired, format!("expired on {}", date(end))))
    } else if now.as_secs() < begin {
        let text = format!("is not valid before {}", date(begin));
        Err(Refusal::new(CertificateError::NotValidYet, text))
    } else {
        Ok(())
    }
}

fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a day that no clock reaches".to_owned(), |time| time.to_string())
}

/// The server's own dates were checked before: what is expired now is above it.
fn chain_refusal(error: &Error, leaf: &Leaf, trusted: &Trusted) -> Refusal {
    use CertificateError::{
        Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidYet, NotValidYetContext,
        UnknownIssuer, UnsupportedSignatureAlgorithmContext,
    };
    let Error::InvalidCertificate(code) = error else {
        return Refusal::new(CertificateError::BadEncoding, format!("cannot be checked: {error}"));
    };
    let text = match code {
        // An issuer whose signature cannot be checked counts as unknown.
        UnknownIssuer if leaf.is_signed_weakly() => {
            "is signed with MD5 or SHA-1, which prove nothing any more".to_owned()
        }
        UnsupportedSignatureAlgorithmContext { .. } => "is signed in a way that is not supported".to_owned(),
        UnknownIssuer => format!("is not signed by any of {}", trusted.origin),
        Expired | ExpiredContext { .. } => "is signed by a certificate that expired".to_owned(),
        NotValidYet | NotValidYetContext { .. } => {
            "is signed by a certificate that is not valid yet".to_owned()
        }
        InvalidPurpose | InvalidPurposeContext { .. } => "is not one for a server".to_owned(),
        // Signed by itself, and not among those that are trusted as they are.
        CertificateError::Other(_) if is_authority(code) => {
            format!("is that of an authority, and not one of {}", trusted.origin)
        }
        other => format!("is refused: {other}"),
    };
    Refusal::new(code.clone(), text)
}

fn is_authority(code: &CertificateError) -> bool {
    let CertificateError::Other(error) = code else { return false };
    error.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// As libpq, takes the common name where there are no other names at all.
fn check_name(leaf: &Leaf, certificate: &CertificateDer<'_>, host: &str) -> Result<(), Refusal> {
    let named = leaf.names();
    let common = if named.is_empty() { leaf.common_names() } else { Vec::new() };
    let is_named = match (ServerName::try_from(host), ParsedCertificate::try_from(certificate)) {
        (Ok(name), Ok(parsed)) if !named.is_empty() => verify_server_name(&parsed, &name).is_ok(),
        _ => common.iter().any(|name| covers(name, host)),
    };
    if is_named {
        return Ok(());
    }
    let names = if named.is_empty() { common } else { named };
    let text = match names.as_slice() {
        [] => format!("is not for host {host:?}, nor for any other"),
        names => format!("is not for host {host:?}, but for {}", names.join(", ")),
    };
    Err(Refusal::new(CertificateError::NotValidForName, text))
}

/// Whether a common name, perhaps with a `*` for its first label, is the host's.
fn covers(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match name.strip_prefix("*.") {
        None => name.eq_ignore_ascii_case(host),
        Some(_) if host.parse::<IpAddr>().is_ok() => false,
        Some(domain) => match host.split_once('.') {
            Some((first, rest)) => !first.is_empty() && domain.eq_ignore_ascii_case(rest),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_covers_what_libpq_says() {
        let check = |name: &str, host: &str, expect| assert_eq!(covers(name, host), expect, "{name} {host}");
        check("db.example.org", "DB.example.org", true);
        check("db.example.org", "db.example.org.", true);
        check("db.example.org", "example.org", false);
        check("*.example.org", "db.example.org", true);
        check("*.example.org", "a.db.example.org", false);
        check("*.example.org", ".example.org", false);
        check("*.example.org", "example.org", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("*.0.0.1", "127.0.0.1", false);
    }
}
