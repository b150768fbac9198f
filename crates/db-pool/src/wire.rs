//! What passes between client and server, as far as a pool must know it: whether a transaction is open, what the server
//! still owes, and what was done to the session. Reads the frames' headers in passing; it changes and delays nothing.
//!
//! The driver gives the status of the transaction to nobody, and it reports an error before the server is ready again.
//! What still waits inside the driver is not seen here: whoever decides must also count what was asked of it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The state of a connection as its [`Tap`] saw it last.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Answers owed in the upper half; below, the status byte of the last one.
    state: AtomicU64,
    effects: AtomicU8,
    commits: AtomicU32,
    rollbacks: AtomicU32,
    restarts: AtomicU32,
    requests: AtomicU32,
    process_id: AtomicI32,
    secret_key: AtomicI32,
}

/// How many transactions have ended on a session. Whoever began one compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// By COMMIT or PREPARE TRANSACTION.
    pub(crate) commits: u32,
    /// By ROLLBACK; going back to a savepoint looks the same.
    pub(crate) rollbacks: u32,
    /// By ROLLBACK, after which another was begun.
    pub(crate) restarts: u32,
}

/// What was done to a session that outlives a transaction. A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects(u8);

impl Effects {
    pub(crate) const NONE: Self = Self(0);
    /// A setting was changed, the role perhaps.
    pub(crate) const SETTING: Self = Self(1);
    pub(crate) const LISTEN: Self = Self(2);
    /// A cursor was declared, which may be held beyond its transaction.
    pub(crate) const CURSOR: Self = Self(4);
    /// An advisory lock of the session may have been taken.
    pub(crate) const LOCK: Self = Self(8);
    /// Prepared statements of the session are not those that the driver knows.
    pub(crate) const STATEMENTS: Self = Self(16);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where a session stands between statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    None,
    Open,
    Failed,
}

/// The session waits for data of a COPY that the driver cannot give, or answers more than it was asked: it is of no use.
const STUCK: u64 = 1 << 31;

/// The server reads the data of a COPY, or has not answered yet that it was given up.
const COPYING: u64 = 1 << 30;

impl Wire {
    /// Whether the server owes nothing and no transaction is open.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state.load(Ordering::Acquire) == u64::from(b'I')
    }

    /// Whether the server owes an answer.
    pub(crate) fn is_owed(&self) -> bool {
        self.state.load(Ordering::Acquire) >= COPYING
    }

    /// Whether the server reads the data of a COPY, or has not answered yet that it was given up. A cancel would look like that
    /// answer then, and may come before it.
    pub(crate) fn is_copying(&self) -> bool {
        self.state.load(Ordering::Acquire) & COPYING != 0
    }

    /// Where the session stood at the last answer.
    pub(crate) fn transaction(&self) -> Transaction {
        match self.state.load(Ordering::Acquire).to_le_bytes()[0] {
            b'T' => Transaction::Open,
            b'E' => Transaction::Failed,
            _ => Transaction::None,
        }
    }

    /// Whether the server has answered everything, and a transaction is open that has not failed.
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == u64::from(b'T')
    }

    /// How many transactions have ended here.
    pub(crate) fn ends(&self) -> Ends {
        let count = |counter: &AtomicU32| counter.load(Ordering::Acquire);
        Ends {
            commits: count(&self.commits),
            rollbacks: count(&self.rollbacks),
            restarts: count(&self.restarts),
        }
    }

    /// How many requests have left this process whole. What was written only in part the server does not run.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Acquire)
    }

    /// Adds what a statement is known to do although the server does not say so.
    pub(crate) fn note(&self, effects: Effects) {
        if effects != Effects::NONE {
            self.effects.fetch_or(effects.0, Ordering::Release);
        }
    }

    /// What was done to the session since it was last clean.
    pub(crate) fn effects(&self) -> Effects {
        Effects(self.effects.load(Ordering::Acquire))
    }

    /// Forgets some effects: they end by themselves.
    pub(crate) fn forget(&self, effects: Effects) {
        self.effects.fetch_and(!effects.0, Ordering::Release);
    }

    /// Forgets the effects: they were undone.
    pub(crate) fn clear_effects(&self) {
        self.effects.store(0, Ordering::Release);
    }

    /// The server's process, and the key that a request to cancel must show.
    pub(crate) fn process(&self) -> (i32, i32) {
        (self.process_id.load(Ordering::Acquire), self.secret_key.load(Ordering::Acquire))
    }
}

/// A stream of bytes to the server whose frames are followed.
#[derive(Debug)]
pub(crate) struct Tap<S> {
    stream: S,
    wire: Arc<Wire>,
    sent: Frames,
    received: Frames,
    followed: Followed,
}

impl<S> Tap<S> {
    /// Follows `stream`, from its startup message on.
    pub(crate) fn new(stream: S, wire: Arc<Wire>) -> Self {
        Self {
            stream,
            wire,
            sent: Frames::from_startup(),
            received: Frames::default(),
            followed: Followed::default(),
        }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let Tap { wire, received, followed, .. } = this;
        received.walk(&buffer.filled()[before..], |tag, body| followed.receive(tag, body, wire));
        followed.publish(wire);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        let Tap { wire, sent, followed, .. } = this;
        sent.walk(&bytes[..written], |tag, _| followed.send(tag));
        followed.publish(wire);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What the frames so far amount to.
#[derive(Debug, Default)]
struct Followed {
    /// The requests that the server has not answered by ReadyForQuery, by their tags.
    owed: VecDeque<u8>,
    requests: u32,
    status: u8,
    /// The server reads the data of a COPY.
    is_copying: bool,
    is_stuck: bool,
    /// A COPY into a table has begun and was not completed.
    is_begun: bool,
    /// The driver has given that COPY up.
    is_given_up: bool,
    /// Something was rolled back since the last BEGIN: perhaps no more than to a savepoint.
    is_rolled_back: bool,
}

impl Followed {
    fn send(&mut self, tag: u8) {
        match tag {
            // Query, Sync, FunctionCall: each is answered by one ReadyForQuery.
            b'Q' | b'S' | b'F' => {
                self.owed.push_back(tag);
                self.requests = self.requests.wrapping_add(1);
            }
            // CopyDone, CopyFail.
            b'c' | b'f' => {
                self.is_copying = false;
                self.is_given_up = tag == b'f';
            }
            _ => {}
        }
    }

    fn receive(&mut self, tag: u8, body: &[u8], wire: &Wire) {
        match tag {
            // ReadyForQuery. That of the startup answers no request.
            b'Z' => {
                self.owed.pop_front();
                self.status = body.first().copied().unwrap_or_default();
            }
            // CopyInResponse. The Sync that went with the request is skipped by a server that reads data; another follows
            // the data. A Query is answered after the data, which the driver never sends for it.
            b'G' => match self.owed.front() {
                Some(b'S') => {
                    self.owed.pop_front();
                    self.is_copying = true;
                    self.is_begun = true;
                    self.is_given_up = false;
                }
                _ => self.is_stuck = true,
            },
            // ErrorResponse. A copy can fail before the server has come to the Sync that it would skip; then it answers
            // that one, and once more the one after the data. Only the error that the driver asks for comes surely later.
            b'E' if self.is_begun => {
                self.is_begun = false;
                self.is_stuck |= !(self.is_given_up && is_cancellation(body));
            }
            // CommandComplete.
            b'C' => {
                self.is_begun = false;
                wire.note(effects_of_tag(body));
                self.follow_ends(body, wire);
            }
            // BackendKeyData.
            b'K' if body.len() >= 8 => {
                let number =
                    |at: usize| i32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
                wire.process_id.store(number(0), Ordering::Release);
                wire.secret_key.store(number(4), Ordering::Release);
            }
            _ => {}
        }
    }

    fn follow_ends(&mut self, tag: &[u8], wire: &Wire) {
        let counter = match tag {
            b"COMMIT\0" | b"PREPARE TRANSACTION\0" => &wire.commits,
            b"ROLLBACK\0" => {
                self.is_rolled_back = true;
                &wire.rollbacks
            }
            b"BEGIN\0" | b"START TRANSACTION\0" if self.is_rolled_back => {
                self.is_rolled_back = false;
                &wire.restarts
            }
            _ => return,
        };
        counter.fetch_add(1, Ordering::Release);
    }

    fn publish(&self, wire: &Wire) {
        let mut state = (self.owed.len() as u64) << 32 | u64::from(self.status);
        if self.is_copying || (self.is_begun && self.is_given_up) {
            state |= COPYING;
        }
        if self.is_stuck {
            state |= STUCK;
        }
        wire.requests.store(self.requests, Ordering::Release);
        wire.state.store(state, Ordering::Release);
    }
}

/// Whether the code among the fields of an error is `query_canceled`.
fn is_cancellation(fields: &[u8]) -> bool {
    fields.split(|byte| *byte == 0).any(|field| field == b"C57014")
}

fn effects_of_tag(tag: &[u8]) -> Effects {
    match tag {
        tag if tag.starts_with(b"SET\0") || tag.starts_with(b"RESET\0") => Effects::SETTING,
        b"PREPARE\0" | b"DEALLOCATE ALL\0" | b"DISCARD ALL\0" => Effects::STATEMENTS,
        tag if tag.starts_with(b"LISTEN\0") => Effects::LISTEN,
        tag if tag.starts_with(b"DECLARE CURSOR\0") => Effects::CURSOR,
        _ => Effects::NONE,
    }
}

/// Cuts a stream of bytes into frames, whatever pieces it comes in: a tag, a length, and a body of which only the
/// beginning is kept.
#[derive(Debug)]
struct Frames {
    header: [u8; 5],
    header_length: usize,
    body: [u8; KEPT],
    body_length: usize,
    /// What of the body is still to come.
    missing: usize,
}

/// As much of a body as is ever looked at: an error's severity, twice and in any language, and its code.
const KEPT: usize = 64;

/// The startup message has no tag; it gets this one.
const STARTUP: u8 = 0;

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; 5], header_length: 0, body: [0; KEPT], body_length: 0, missing: 0 }
    }
}

impl Frames {
    fn from_startup() -> Self {
        // As if its tag had been read.
        Self { header: [STARTUP; 5], header_length: 1, ..Self::default() }
    }

    fn walk(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.header_length < 5 {
                let taken = bytes.len().min(5 - self.header_length);
                self.header[self.header_length..][..taken].copy_from_slice(&bytes[..taken]);
                self.header_length += taken;
                bytes = &bytes[taken..];
                if self.header_length < 5 {
                    return;
                }
                let [_, length @ ..] = self.header;
                // The length counts itself. One that is too small is the driver's to refuse.
                self.missing = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.body_length = 0;
            }
            let taken = bytes.len().min(self.missing);
            let kept = taken.min(KEPT - self.body_length);
            self.body[self.body_length..][..kept].copy_from_slice(&bytes[..kept]);
            self.body_length += kept;
            self.missing -= taken;
            bytes = &bytes[taken..];
            if self.missing == 0 {
                self.header_length = 0;
                frame(self.header[0], &self.body[..self.body_length]);
            }
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
