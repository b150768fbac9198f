//! One message of the simple protocol and its answers: for SQL that is text alone, and may hold several statements.

use std::pin::pin;

use db_core::Phase;
use futures_util::StreamExt as _;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// The answer to one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The first value of the last row.
    pub(crate) value: Option<String>,
}

/// A message failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// How many statements were through before.
    pub(crate) completed: usize,
    pub(crate) error: Error,
}

/// Sends statements as one message; the answers come in their order.
pub(crate) async fn send(client: &Client, sql: &str) -> Result<Vec<Answer>, Broken> {
    let (mut answers, mut value) = (Vec::new(), None);
    let error = match client.simple_query_raw(sql).await {
        Err(error) => error,
        Ok(stream) => {
            let mut messages = pin!(stream);
            loop {
                match messages.next().await {
                    None => return Ok(answers),
                    Some(Ok(SimpleQueryMessage::CommandComplete(_))) => {
                        answers.push(Answer { value: value.take() });
                    }
                    Some(Ok(SimpleQueryMessage::Row(row))) => {
                        value = row.try_get(0).ok().flatten().map(str::to_owned);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                }
            }
        }
    };
    Err(Broken { completed: answers.len(), error })
}

impl From<Broken> for db_core::Error {
    fn from(Broken { error, .. }: Broken) -> Self {
        Self::from_driver(&error, Phase::Execute).without_parameters()
    }
}
