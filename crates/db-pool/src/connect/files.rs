//! Certificates and keys from files, read anew for every connection: whoever replaces a file need not restart anything. The
//! roots of the system are read once. No error holds a part of a file.

use std::path::Path;
use std::sync::Arc;

use db_core::Cause;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use tokio::sync::OnceCell;

use super::failed::{Failed, Stage};
use super::tls::provider;
use crate::target::{Roots, Tls};

/// Who may have signed a server's certificate.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) store: RootCertStore,
    /// Certificates that are trusted as they are, although they sign nothing: a server's own, signed by itself.
    pub(super) exact: Vec<CertificateDer<'static>>,
    /// Where they are from, for messages.
    pub(super) origin: String,
}

pub(super) async fn trusted(roots: &Roots) -> Result<Arc<Trusted>, Failed> {
    match roots {
        Roots::System => system().await,
        Roots::File(path) => Ok(Arc::new(file(path).await?)),
    }
}

async fn file(path: &Path) -> Result<Trusted, Failed> {
    let exact = certificates("sslrootcert", path).await?;
    let mut store = RootCertStore::empty();
    for certificate in &exact {
        store.add(certificate.clone()).map_err(|_| unusable("sslrootcert", path, "a certificate"))?;
    }
    let origin = format!("the certificates in {} (sslrootcert)", path.display());
    Ok(Trusted { store, exact, origin })
}

async fn system() -> Result<Arc<Trusted>, Failed> {
    static SYSTEM: OnceCell<Arc<Trusted>> = OnceCell::const_new();
    let loaded = SYSTEM.get_or_try_init(async || {
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
        let found = found.await.map_err(|_| {
            Failed::new(Stage::Setup, Cause::Defect, "reading this system's root certificates: a panic")
        })?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let message = "this system has no root certificates: sslrootcert may name a file with some";
            return Err(Failed::misuse(Stage::Setup, message));
        }
        let origin = "the root certificates of this system".to_owned();
        Ok(Arc::new(Trusted { store, exact: Vec::new(), origin }))
    });
    Ok(Arc::clone(loaded.await?))
}

/// Our own certificate and its key, when there is one.
pub(super) async fn identity(tls: &Tls) -> Result<Option<CertifiedKey>, Failed> {
    let (certificate, key) = match (&tls.certificate, &tls.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(Failed::misuse(Stage::Setup, "sslcert is given without sslkey")),
        (None, Some(_)) => return Err(Failed::misuse(Stage::Setup, "sslkey is given without sslcert")),
    };
    let chain = certificates("sslcert", certificate).await?;
    let text = read("sslkey", key).await?;
    let parsed = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let what = "holds no private key in PEM, or one that needs a passphrase";
        Failed::misuse(Stage::Setup, format!("sslkey {} {what}", key.display()))
    })?;
    let signer = provider().key_provider.load_private_key(parsed);
    let signer = signer.map_err(|_| unusable("sslkey", key, "the key"))?;
    let certified = CertifiedKey::new(chain, signer);
    // What cannot be compared is for the server to judge.
    if let Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
        let (key, certificate) = (key.display(), certificate.display());
        let message = format!("sslkey {key} is not the key of the certificate in sslcert {certificate}");
        return Err(Failed::misuse(Stage::Setup, message));
    }
    Ok(Some(certified))
}

async fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failed> {
    let text = read(setting, path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            let message = format!("{setting} {} holds no certificate in PEM", path.display());
            Err(Failed::misuse(Stage::Setup, message))
        }
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(Failed::misuse(Stage::Setup, format!("{setting} {} is not valid PEM", path.display()))),
    }
}

async fn read(setting: &str, path: &Path) -> Result<Vec<u8>, Failed> {
    tokio::fs::read(path).await.map_err(|error| {
        Failed::misuse(Stage::Setup, format!("cannot read {setting} {}: {error}", path.display()))
    })
}

fn unusable(setting: &str, path: &Path, what: &str) -> Failed {
    let message = format!("{setting} {}: {what} in it cannot be used", path.display());
    Failed::misuse(Stage::Setup, message)
}
