//! What must be read from a server's certificate apart from the chain: names, dates, its key, and what a channel is bound
//! to. It judges nothing.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Reader, TagNumber};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

/// The certificate that a server showed for itself.
pub(super) struct Leaf(Certificate);

impl Leaf {
    /// `None` when it cannot be read.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        Certificate::from_der(certificate.as_ref()).ok().map(Self)
    }

    /// The names and addresses that it stands for.
    pub(super) fn names(&self) -> Vec<String> {
        let alternative = self.0.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
        let names = alternative.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
        names.iter().filter_map(text_of).collect()
    }

    /// The common names of its subject, where names were put before there were better places.
    pub(super) fn common_names(&self) -> Vec<String> {
        const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
        let subject = self.0.tbs_certificate().subject().iter();
        subject
            .filter(|part| part.oid == COMMON_NAME)
            .filter_map(|part| {
                let text = part.value.decode_as::<Utf8StringRef<'_>>().map(|text| text.to_string());
                let text = text.or_else(|_| {
                    part.value.decode_as::<PrintableStringRef<'_>>().map(|text| text.to_string())
                });
                text.ok()
            })
            .collect()
    }

    /// Seconds since 1970 from which on, and until which, it is good.
    pub(super) fn validity(&self) -> (u64, u64) {
        let validity = self.0.tbs_certificate().validity();
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }

    /// Whether it is of the first version of X.509, which has no names and no purposes.
    pub(super) fn is_of_version_1(&self) -> bool {
        self.0.tbs_certificate().version() == Version::V1
    }

    /// Whether its signature is by a hash that can be forged.
    pub(super) fn is_signed_weakly(&self) -> bool {
        // With RSA: MD5, SHA-1. With ECDSA: SHA-1.
        const WEAK: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];
        WEAK.contains(&self.0.signature_algorithm().oid.to_string().as_str())
    }

    pub(super) fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let key = self.0.tbs_certificate().subject_public_key_info().to_der().ok()?;
        Some(SubjectPublicKeyInfoDer::from(key))
    }
}

fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let address = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The bytes of `tls-server-end-point` (RFC 5929): a hash of the certificate, by the hash of its own signature. `None` where
/// that is not defined, as for Ed25519.
pub(super) fn binding(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let leaf = Leaf::read(certificate)?;
    let bytes = certificate.as_ref();
    Some(match hash_of(leaf.0.signature_algorithm())? {
        Hash::Sha224 => Sha224::digest(bytes).to_vec(),
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha384 => Sha384::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// MD5 and SHA-1 count as SHA-256, by the same RFC.
fn hash_of(signature: &AlgorithmIdentifierOwned) -> Option<Hash> {
    match signature.oid.to_string().as_str() {
        // With RSA: MD5, SHA-1, SHA-256. With ECDSA: SHA-1, SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(Hash::Sha256),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(Hash::Sha256),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Some(Hash::Sha224),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Hash::Sha384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Hash::Sha512),
        // RSASSA-PSS names its hash in its parameters.
        "1.2.840.113549.1.1.10" => pss_hash(signature),
        _ => None,
    }
}

fn pss_hash(signature: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let parameters = signature.parameters.as_ref()?.to_der().ok()?;
    let hash = AnyRef::from_der(&parameters).ok()?.sequence(|fields| {
        let hash = ContextSpecific::<AlgorithmIdentifierRef<'_>>::decode_explicit(fields, TagNumber(0))?;
        // The mask and the salt follow, and have no part in it.
        fields.read_slice(fields.remaining_len())?;
        Ok::<_, x509_cert::der::Error>(hash.map(|field| field.value.oid))
    });
    match hash.ok()?.map(|oid| oid.to_string()).as_deref() {
        // The default is SHA-1.
        None | Some("1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1") => Some(Hash::Sha256),
        Some("2.16.840.1.101.3.4.2.4") => Some(Hash::Sha224),
        Some("2.16.840.1.101.3.4.2.2") => Some(Hash::Sha384),
        Some("2.16.840.1.101.3.4.2.3") => Some(Hash::Sha512),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use x509_cert::der::Any;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let check = |oid: &str, parameters: Option<&[u8]>, expect| {
            let signature = AlgorithmIdentifierOwned {
                oid: oid.parse().expect(oid),
                parameters: parameters.map(|der| Any::from_der(der).expect("DER")),
            };
            assert_eq!(hash_of(&signature), expect, "{oid}");
        };
        let null: Option<&[u8]> = Some(&[5, 0]);
        check("1.2.840.113549.1.1.4", null, Some(Hash::Sha256));
        check("1.2.840.113549.1.1.5", null, Some(Hash::Sha256));
        check("1.2.840.113549.1.1.11", null, Some(Hash::Sha256));
        check("1.2.840.113549.1.1.12", null, Some(Hash::Sha384));
        check("1.2.840.113549.1.1.13", null, Some(Hash::Sha512));
        check("1.2.840.10045.4.3.1", None, Some(Hash::Sha224));
        check("1.2.840.10045.4.3.2", None, Some(Hash::Sha256));
        check("1.2.840.10045.4.3.3", None, Some(Hash::Sha384));
        check("1.2.840.10045.4.3.4", None, Some(Hash::Sha512));
        check("1.3.101.112", None, None);
        // RSASSA-PSS: nothing said, SHA-256 and a length of the salt, SHA-384.
        let pss = "1.2.840.113549.1.1.10";
        check(pss, Some(&[0x30, 0]), Some(Hash::Sha256));
        let sha256 = [
            0x30, 0x14, 0xa0, 0x0d, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 0xa2, 3, 2, 1,
            0x20,
        ];
        check(pss, Some(&sha256), Some(Hash::Sha256));
        let sha384 = [0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
        check(pss, Some(&sha384), Some(Hash::Sha384));
        check(pss, null, None);
        check(pss, None, None);
    }

    #[test]
    fn what_is_no_certificate_is_not_read() {
        for bytes in [&[][..], &[0x30, 0], b"hunter2"] {
            assert!(binding(&CertificateDer::from(bytes)).is_none());
        }
    }
}
