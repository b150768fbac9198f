//! Attributes that are made again and again: of pools and servers. Words for values that are enums elsewhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::{KeyValue, StringValue};

use crate::names::attribute;

/// What is made once for each name. Names are few: pools and servers.
#[derive(Debug)]
pub(crate) struct Made<T>(RwLock<HashMap<Box<str>, Arc<T>>>);

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Made<T> {
    pub(crate) fn of(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(made) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(made);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.into()).or_insert_with(|| Arc::new(make())))
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
    use db_core::CloseReason;

    use super::*;

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
