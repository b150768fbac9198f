//! Attributes that are made again and again: of pools and servers. Words for values that are enums elsewhere.

use std::fmt;
use std::sync::OnceLock;

use opentelemetry::{KeyValue, StringValue};

use crate::names::attribute;

/// What is made once for each name. Names are few, those of pools and servers, and are never forgotten.
///
/// Why a list and not a map behind a lock? Every event looks here. Also a lock that is only read is written to, and threads
/// would hand it to each other with each event; what only grows is read without.
#[derive(Debug)]
pub(crate) struct Made<T>(OnceLock<Box<Node<T>>>);

#[derive(Debug)]
struct Node<T> {
    name: Box<str>,
    made: T,
    more: Made<T>,
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Made<T> {
    pub(crate) fn of(&self, name: &str, make: impl Fn() -> T) -> &T {
        let mut rest = self;
        loop {
            let node = rest
                .0
                .get_or_init(|| Box::new(Node { name: name.into(), made: make(), more: Self::default() }));
            if *node.name == *name {
                return &node.made;
            }
            rest = &node.more;
        }
    }
}

/// The attributes of a pool.
pub(crate) fn of_pool(name: &str) -> [KeyValue; 1] {
    [KeyValue::new(attribute::POOL_NAME, name.to_owned())]
}

/// The attributes of a server by its name `host:port`.
pub(crate) fn of_server(endpoint: &str) -> Vec<KeyValue> {
    let (address, port) = match endpoint.rsplit_once(':') {
        Some((address, port)) => (address, port.parse::<u16>().ok()),
        None => (endpoint, None),
    };
    let port = port.map(|port| KeyValue::new(attribute::SERVER_PORT, i64::from(port)));
    std::iter::once(KeyValue::new(attribute::SERVER_ADDRESS, address.to_owned())).chain(port).collect()
}

/// The name of an enum's variant as metrics spell words: `PoolClosed` is `pool_closed`.
pub(crate) fn word(variant: impl fmt::Debug) -> StringValue {
    let mut word = String::new();
    for character in format!("{variant:?}").chars() {
        if character.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(character.to_ascii_lowercase());
    }
    word.into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use db_core::CloseReason;

    use super::*;

    #[test]
    fn each_name_is_made_once() {
        let (made, count) = (Made::default(), Cell::new(0));
        let of = |name: &str| {
            *made.of(name, || {
                count.set(count.get() + 1);
                name.len() + count.get() * 100
            })
        };
        assert_eq!([of("a"), of("bb"), of("ccc")], [101, 202, 303]);
        assert_eq!([of("ccc"), of("bb"), of("a")], [303, 202, 101]);
        assert_eq!(count.get(), 3);
    }

    #[test]
    fn words_are_in_lower_case() {
        let check = |variant: CloseReason, expect: &str| assert_eq!(word(variant).as_str(), expect);
        check(CloseReason::PoolClosed, "pool_closed");
        check(CloseReason::Idle, "idle");
    }

    #[test]
    fn servers_have_an_address_and_perhaps_a_port() {
        let check = |endpoint: &str, expect: &[(&str, &str)]| {
            let made = of_server(endpoint);
            let made: Vec<_> =
                made.iter().map(|it| (it.key.as_str(), it.value.as_str().into_owned())).collect();
            assert_eq!(made, expect.iter().map(|(key, it)| (*key, (*it).to_owned())).collect::<Vec<_>>());
        };
        check("db.example:5432", &[("server.address", "db.example"), ("server.port", "5432")]);
        check("[::1]:5433", &[("server.address", "[::1]"), ("server.port", "5433")]);
        check("somewhere", &[("server.address", "somewhere")]);
    }
}
