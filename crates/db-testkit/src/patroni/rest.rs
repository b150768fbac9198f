//! What a REST interface on this machine answers to a question without a body: its status, and nothing else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take. Patroni asks its server before it answers.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether it says yes (200). No answer is a no.
pub(super) async fn says_yes(port: u16, path: &str) -> bool {
    matches!(timeout(ANSWER, status(port, path)).await, Ok(Ok(200)))
}

async fn status(port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(status_in(&String::from_utf8_lossy(&answer)).unwrap_or_default())
}

fn status_in(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer() {
        assert_eq!(status_in("HTTP/1.0 503 Service Unavailable\r\n\r\n{}"), Some(503));
        assert_eq!(status_in("HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_in(""), None);
    }
}
