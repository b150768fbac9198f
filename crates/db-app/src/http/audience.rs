//! Who asks: a stranger, somebody who belongs here, or an operator. Who may see what is said by the endpoints.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use db_core::{ExposeSecret, SecretString};
use db_health::view::Audience;
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::state::Shared;

/// What proxies add to a request. One that adds none of it must be kept away from what is for insiders.
const FORWARDING: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
];

/// Somebody who belongs here: he sent the token, or connects from the machine itself, by a name of it, without a proxy in
/// between. Others are refused.
pub(super) struct Insider;

/// Somebody who sent the token, from wherever. Others are refused.
pub(super) struct Operator {
    /// From where, for the audit log.
    pub(super) peer: Option<SocketAddr>,
}

/// Whoever it is.
pub(super) struct Anybody(pub(super) Audience);

impl FromRequestParts<Arc<Shared>> for Anybody {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        let is_insider =
            is_local(peer(parts), &parts.headers) || has_token(shared.token.as_ref(), &parts.headers);
        Ok(Self(if is_insider { Audience::Insider } else { Audience::Stranger }))
    }
}

impl FromRequestParts<Arc<Shared>> for Insider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        match Anybody::from_request_parts(parts, shared).await {
            Ok(Anybody(Audience::Insider)) => Ok(Self),
            _ => Err(refusal(shared)),
        }
    }
}

impl FromRequestParts<Arc<Shared>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        let peer = peer(parts);
        if has_token(shared.token.as_ref(), &parts.headers) {
            return Ok(Self { peer });
        }
        tracing::warn!(target: "db::audit", peer = peer.map(tracing::field::display),
            path = parts.uri.path(), "refused");
        Err(refusal(shared))
    }
}

fn refusal(shared: &Shared) -> Problem {
    Problem::unauthorized(match &shared.token {
        Some(_) => "send the token (DB_HTTP_TOKEN) as `Authorization: Bearer`",
        None => "no token is set (DB_HTTP_TOKEN), and the call is not known to be from the machine itself",
    })
}

fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

fn is_local(peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    // A proxy on the same machine makes everybody's connection a local one.
    let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !is_forwarded
        && names_loopback(headers)
}

/// Whether the caller asked for this machine by a name of its own. A page of somebody else's whose name was made to lead here
/// asks by that name; so does a proxy that passes on what it was asked for.
fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

fn has_token(token: Option<&SecretString>, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    match (token, given) {
        (Some(token), Some(given)) => bool::from(token.expose_secret().as_bytes().ct_eq(given)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D10: a page of somebody else's in a browser on this machine is a stranger.
    #[test]
    fn who_is_on_the_machine_itself() {
        let check = |peer: &str, host: &'static str, expect: bool| {
            let peer = peer.parse().expect("an address");
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().expect("a value"))]);
            assert_eq!(is_local(Some(peer), &headers), expect, "{peer} asks for {host}");
        };
        check("127.0.0.1:1", "127.0.0.1:8080", true);
        check("127.0.0.1:1", "localhost", true);
        check("[::1]:1", "[::1]:8080", true);
        check("[::ffff:127.0.0.1]:1", "LOCALHOST:8080", true);
        check("127.0.0.1:1", "evil.example:8080", false);
        check("127.0.0.1:1", "localhost.evil.example", false);
        check("127.0.0.1:1", "10.0.0.1:8080", false);
        check("10.0.0.1:1", "127.0.0.1:8080", false);
        assert!(!is_local(Some(([127, 0, 0, 1], 1).into()), &HeaderMap::new()));
        assert!(!is_local(
            None,
            &HeaderMap::from_iter([(header::HOST, "localhost".parse().expect("a value"))])
        ));
    }
}
