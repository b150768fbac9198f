//! How a message says that it comes from us, and how its receiver checks that. Nothing is sent here.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// The value of `X-Db-Signature` for a body that is sent now.
pub(super) fn sign(secret: &[u8], body: &[u8], now: Timestamp) -> String {
    let sent = now.as_second();
    let digest = mac(secret, &sent.to_string(), body).finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={sent},v1={hex}")
}

/// Checks that a message was sent by somebody who knows `secret`, and no longer than `tolerance` before or after `now`.
///
/// `header` is the value of `X-Db-Signature`, `t=UNIX_SECONDS,v1=HEX`: the time of sending, and HMAC-SHA256 over
/// `"{t}.{body}"`. `body` is what was received, byte by byte, before it is read as JSON. A sender that is changing its secret may
/// give several `v1`: one that fits is enough.
///
/// A tolerance of 5 min is usual. Within it a message can be sent again by whoever has seen it: remember its `id` for as long. It
/// is in the signed body, and again in `X-Db-Event-Id`, which is not signed.
///
/// ```
/// use std::time::Duration;
///
/// use db_health::{Notice, SignatureError, verify_signature};
/// use jiff::Timestamp;
///
/// /// What a receiver does with a request before anything else.
/// fn receive(signature: &str, body: &[u8], now: Timestamp) -> Result<Notice, SignatureError> {
///     verify_signature(b"the secret of both sides", signature, body, Duration::from_secs(300), now)?;
///     Ok(serde_json::from_slice(body).expect("what a sender with the secret sends is JSON"))
/// }
///
/// let body = concat!(
///     r#"{"id":"1","alert":"error_rate","state":"firing","value":9.5,"threshold":5.0,"#,
///     r#""unit":"%","text":"many operations fail","at":"2026-01-01T00:00:00Z","service":"orders","instance":"1"}"#,
/// );
/// let hex = "7e28c4a6095cdbf051707fe4f60dd1e33b0e4dc28aeee9cb703e924f12c13bd9";
/// let signature = format!("t=1767225600,v1={hex}");
/// let now: Timestamp = "2026-01-01T00:00:10Z".parse().expect("a time");
///
/// let notice = receive(&signature, body.as_bytes(), now).expect("it is ours");
/// assert_eq!((&*notice.alert, notice.value), ("error_rate", 9.5));
/// let forged = body.replace("9.5", "0.5");
/// assert_eq!(receive(&signature, forged.as_bytes(), now), Err(SignatureError::Mismatch));
/// ```
///
/// # Errors
/// What is wrong with it. A sender should be told no more than that it is refused.
pub fn verify_signature(
    secret: &[u8],
    header: &str,
    body: &[u8],
    tolerance: Duration,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let mut parts = header.split(',').map(str::trim);
    let sent = parts.next().and_then(|part| part.strip_prefix("t=")).ok_or(SignatureError::Malformed)?;
    let seconds: i64 = sent.parse().map_err(|_| SignatureError::Malformed)?;
    let signatures: Vec<_> = parts.filter_map(|part| part.strip_prefix("v1=")).collect();
    if signatures.is_empty() {
        return Err(SignatureError::Malformed);
    }
    // The time is signed as it is written.
    let expected = mac(secret, sent, body);
    // `verify_slice` takes the same time wherever the first difference is.
    let fits =
        |signature| bytes(signature).is_some_and(|given| expected.clone().verify_slice(&given).is_ok());
    if !signatures.into_iter().any(fits) {
        return Err(SignatureError::Mismatch);
    }
    if now.as_second().abs_diff(seconds) > tolerance.as_secs() {
        return Err(SignatureError::Expired);
    }
    Ok(())
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureError {
    /// The header is not `t=UNIX_SECONDS,v1=HEX`.
    Malformed,
    /// The body or the time was changed, or the secret is another.
    Mismatch,
    /// It is right, but too old, or the clocks differ.
    Expired,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the signature is not of the form t=UNIX_SECONDS,v1=HEX",
            Self::Mismatch => "the signature does not fit the message",
            Self::Expired => "the signature is too old, or of a time to come",
        })
    }
}

impl std::error::Error for SignatureError {}

fn mac(secret: &[u8], sent: &str, body: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.chain_update(sent).chain_update(b".").chain_update(body)
}

/// Reads hexadecimal digits; none unless there are 64 of them.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16).map(|it| it as u8)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1]))
}

#[cfg(test)]
mod tests {
    use SignatureError::{Expired, Malformed, Mismatch};

    use super::*;

    const SECRET: &[u8] = b"a secret of both sides";
    const SENT: i64 = 1_767_225_600;
    /// From `printf '1767225600.{}' | openssl dgst -sha256 -hmac 'a secret of both sides'`.
    const KNOWN: &str = "89215597e9eacb10ac8c7a6f4cb5cb18d3dd888c561d4d6b283f92aec6e7a416";

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn what_is_signed_is_what_another_program_signs() {
        assert_eq!(sign(SECRET, b"{}", time(SENT)), format!("t={SENT},v1={KNOWN}"));
    }

    /// E10: a receiver can tell what is ours, and what is old.
    #[test]
    fn what_is_refused() {
        let check = |header: &str, body: &str, now: i64, expect: Result<(), SignatureError>| {
            let seen = verify_signature(SECRET, header, body.as_bytes(), Duration::from_secs(300), time(now));
            assert_eq!(seen, expect, "{header} {body} {now}");
        };
        let good = format!("t={SENT},v1={KNOWN}");
        check(&good, "{}", SENT, Ok(()));
        check(&good.to_uppercase().replace("T=", "t=").replace("V1=", "v1="), "{}", SENT, Ok(()));
        check(&format!("t={SENT}, v1={}, v1={KNOWN}", "0".repeat(64)), "{}", SENT, Ok(()));
        check(&good, "{}", SENT + 300, Ok(()));
        check(&good, "{}", SENT - 300, Ok(()));
        check(&good, "{}", SENT + 301, Err(Expired));
        check(&good, "{}", SENT - 301, Err(Expired));
        check(&good, "{} ", SENT, Err(Mismatch));
        check(&good, "", SENT, Err(Mismatch));
        // Whoever makes it younger must sign it anew.
        check(&format!("t={},v1={KNOWN}", SENT + 1), "{}", SENT, Err(Mismatch));
        check(&format!("t=0{SENT},v1={KNOWN}"), "{}", SENT, Err(Mismatch));
        check(&good[..good.len() - 1], "{}", SENT, Err(Mismatch));
        check(&format!("{good}0"), "{}", SENT, Err(Mismatch));
        check(&format!("t={SENT},v1={}é", &KNOWN[..63]), "{}", SENT, Err(Mismatch));
        for malformed in ["", "t=", "t=1", "v1=00", &format!("v1={KNOWN},t={SENT}"), "t=x,v1=00", "t=1,v0=00"]
        {
            check(malformed, "{}", SENT, Err(Malformed));
        }
        let other = verify_signature(b"another", &good, b"{}", Duration::from_secs(300), time(SENT));
        assert_eq!(other, Err(Mismatch));
    }
}
