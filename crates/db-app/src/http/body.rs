//! The body of a request: an object of JSON, or what is wrong with it in the shape of our errors. Whether a figure in it makes
//! sense is for who uses it.

use std::fmt;
use std::marker::PhantomData;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use utoipa::IntoResponses;

use super::problem::Problem;

/// What was sent.
pub(super) struct Body<T>(pub(super) T);

/// How a body is refused, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(super) enum NotOurs {
    /// The body is no JSON, has a field that is unknown or lacks one, or a value that cannot be
    #[response(status = 400)]
    Content(Problem),
    /// The body is larger than 16 KiB
    #[response(status = 413)]
    Size(Problem),
    /// The body does not say that it is JSON
    #[response(status = 415)]
    Kind(Problem),
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<Object<T>>::from_request(request, state).await {
            Ok(Json(Object(body))) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

fn refused(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = "the body is larger than 16 KiB";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let message = "the body must be JSON: send `Content-Type: application/json`";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
        }
        // Also for JSON of another shape, which others call 422: a caller has to send something else in either case.
        _ => Problem::bad_request(rejection.body_text()),
    }
}

/// A value from an object alone: by itself a struct is read from an array as well, by the order of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}
