//! A client that sends exactly what it is told, and shows the whole answer. Knows nothing of our routes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Answer {
    /// A header's value; `None` when it is not there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.expect("a connection in time");
        Self(BufReader::new(stream.expect("connect")))
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.expect("sent");
    }

    /// An answer with its body, as long as its head says.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("a body in time").expect("a body");
        answer.body = String::from_utf8(body).expect("text");
        answer
    }

    /// An answer up to its body.
    pub(crate) async fn head(&mut self) -> Answer {
        let mut head = String::new();
        loop {
            match self.line().await {
                Some(line) if line.is_empty() => break,
                Some(line) => head = head + &line + "\n",
                None => panic!("the connection ended: {head:?}"),
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: String::new() }
    }

    /// The next line without its end; `None` when the connection has ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line in time");
        match read.unwrap_or(0) {
            0 => None,
            _ => Some(line.trim_end().to_owned()),
        }
    }

    /// Reads a stream to its end, which must be told: one that is cut fails the test.
    pub(crate) async fn last_chunk(&mut self) {
        let end = async { while self.line().await.expect("a last chunk, and no cut") != "0" {} };
        timeout(PATIENCE, end).await.expect("an end in time");
    }

    /// Whatever still comes until the other side ends the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // One that is reset has ended as well.
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("an end in time").ok();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A request of its own connection: `POST /path`, lines of headers that each end in CR LF, a body.
pub(crate) async fn call(address: SocketAddr, what: &str, headers: &str, body: &str) -> Answer {
    let mut connection = Connection::to(address).await;
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n");
    connection.send(head + body).await;
    if what.starts_with("HEAD ") { connection.head().await } else { connection.answer().await }
}
