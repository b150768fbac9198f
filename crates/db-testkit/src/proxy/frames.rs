//! Where messages begin and end in a stream of bytes, whatever pieces it comes in. Knows nothing of what they mean: that
//! is `dialogue.rs`.

use super::Direction;

/// Messages that must be seen whole are held back until they are. A longer one passes unread.
pub(super) const LONGEST_READ: usize = 1 << 20;

/// What stands at the beginning of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing that could pass by itself: more must come first.
    Incomplete,
    /// So many bytes of something that need not be looked at.
    Plain(usize),
    /// A message of so many bytes, tag and length included. A startup message has the tag [`STARTUP`].
    Message(u8, usize),
    /// The one byte that answers a request for encryption and grants it.
    Encryption,
}

/// The startup message has no tag; it gets this one.
pub(super) const STARTUP: u8 = 0;

/// The protocol, TLS included, knows no longer ones.
const LONGEST_STARTUP: usize = 10_000;

/// Cuts what passes in one direction.
#[derive(Debug)]
pub(super) struct Cutter {
    direction: Direction,
    phase: Phase,
    /// What is still to come of a message that passes unread.
    missing: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A startup message: its length comes first.
    Startup,
    /// One byte, which answers a request for encryption.
    Answer,
    /// Messages: a tag, and a length that counts itself.
    Messages,
    /// No messages can be told apart.
    Opaque,
}

impl Cutter {
    pub(super) fn new(direction: Direction) -> Self {
        let phase = match direction {
            Direction::ToServer => Phase::Startup,
            Direction::ToClient => Phase::Messages,
        };
        Self { direction, phase, missing: 0 }
    }

    /// The startup message is over.
    pub(super) fn expect_messages(&mut self) {
        self.phase = Phase::Messages;
    }

    /// The next byte answers a request for encryption.
    pub(super) fn expect_answer(&mut self) {
        self.phase = Phase::Answer;
    }

    /// From here on nothing can be told apart.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Opaque;
    }

    /// Cuts a piece off the beginning of `bytes`. What is not [`Piece::Incomplete`] counts as taken.
    pub(super) fn cut(&mut self, bytes: &[u8]) -> Piece {
        if bytes.is_empty() {
            return Piece::Incomplete;
        }
        if self.missing > 0 {
            return self.plain(self.missing, bytes);
        }
        match self.phase {
            Phase::Opaque => Piece::Plain(bytes.len()),
            Phase::Answer => {
                // Anything else is an error message of a server that does not know the request.
                self.phase = Phase::Messages;
                match bytes[0] {
                    b'S' | b'G' => Piece::Encryption,
                    b'N' => Piece::Plain(1),
                    _ => self.cut(bytes),
                }
            }
            Phase::Startup => match length_at(bytes, 0) {
                None => Piece::Incomplete,
                Some(length @ 8..=LONGEST_STARTUP) if bytes.len() < length => Piece::Incomplete,
                Some(length @ 8..=LONGEST_STARTUP) => Piece::Message(STARTUP, length),
                // TLS without asking for it first.
                Some(_) => self.opaque(bytes),
            },
            Phase::Messages => match length_at(bytes, 1) {
                None => Piece::Incomplete,
                Some(0..4) => self.opaque(bytes),
                Some(length) if self.must_be_read(bytes[0]) && length < LONGEST_READ => {
                    if bytes.len() > length {
                        Piece::Message(bytes[0], length + 1)
                    } else {
                        Piece::Incomplete
                    }
                }
                Some(length) => self.plain(length + 1, bytes),
            },
        }
    }

    fn plain(&mut self, length: usize, bytes: &[u8]) -> Piece {
        let taken = length.min(bytes.len());
        self.missing = length - taken;
        Piece::Plain(taken)
    }

    fn opaque(&mut self, bytes: &[u8]) -> Piece {
        self.phase = Phase::Opaque;
        Piece::Plain(bytes.len())
    }

    fn must_be_read(&self, tag: u8) -> bool {
        match self.direction {
            // Query, Parse, Bind, Execute, Close, Sync, FunctionCall.
            Direction::ToServer => b"QPBECSF".contains(&tag),
            // CommandComplete, ReadyForQuery.
            Direction::ToClient => b"CZ".contains(&tag),
        }
    }
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(length) as usize)
}

#[cfg(test)]
mod tests {
    use super::Piece::{Encryption, Incomplete, Message, Plain};
    use super::*;

    /// Feeds a stream in pieces of `step` bytes, and gives all messages of it.
    fn messages(mut cutter: Cutter, stream: &[u8], step: usize) -> (Vec<(u8, usize)>, usize) {
        let (mut found, mut held, mut passed) = (Vec::new(), Vec::new(), 0);
        for bytes in stream.chunks(step) {
            held.extend_from_slice(bytes);
            loop {
                let taken = match cutter.cut(&held) {
                    Incomplete => break,
                    Plain(length) => length,
                    Encryption => 1,
                    Message(tag, length) => {
                        found.push((tag, length));
                        if tag == STARTUP {
                            cutter.expect_messages();
                        }
                        length
                    }
                };
                passed += taken;
                held.drain(..taken);
            }
        }
        (found, passed)
    }

    #[test]
    fn messages_are_found_in_pieces_of_any_size() {
        let stream = b"\0\0\0\x08\0\x03\0\0Q\0\0\0\x09abcd\0d\0\0\0\x0a123456S\0\0\0\x04X\0\0\0\x04";
        for step in 1..=stream.len() {
            let (found, passed) = messages(Cutter::new(Direction::ToServer), stream, step);
            assert_eq!(found, [(STARTUP, 8), (b'Q', 10), (b'S', 5)], "in pieces of {step}");
            assert_eq!(passed, stream.len(), "in pieces of {step}");
        }
    }

    #[test]
    fn what_stands_at_the_beginning() {
        let check = |phase, direction, bytes: &[u8], expect| {
            let mut cutter = Cutter { direction, phase, missing: 0 };
            assert_eq!(cutter.cut(bytes), expect, "{bytes:?}");
        };
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        check(Phase::Startup, up, b"\0\0\0", Incomplete);
        check(Phase::Startup, up, b"\0\0\0\x08\x04\xd2\x16", Incomplete);
        check(Phase::Startup, up, b"\0\0\0\x08\x04\xd2\x16\x2f", Message(STARTUP, 8));
        check(Phase::Startup, up, b"\x16\x03\x01\x02\0\x01", Plain(6));
        check(Phase::Answer, down, b"S", Encryption);
        check(Phase::Answer, down, b"G", Encryption);
        check(Phase::Answer, down, b"N", Plain(1));
        check(Phase::Answer, down, b"E\0\0\0\x06ab", Plain(7));
        check(Phase::Messages, down, b"Z\0\0\0\x05", Incomplete);
        check(Phase::Messages, down, b"Z\0\0\0\x05I", Message(b'Z', 6));
        check(Phase::Messages, down, b"D\0\0\0\x0fab", Plain(7));
        check(Phase::Messages, down, b"S\0\0\0\x0fab", Plain(7));
        check(Phase::Messages, up, b"S\0\0\0", Incomplete);
        check(Phase::Messages, up, b"Q\0\0\0\x02ab", Plain(7));
        check(Phase::Messages, up, b"Q\0\x20\0\0ab", Plain(7));
        check(Phase::Opaque, up, b"Q\0\0\0\x06ab", Plain(7));
    }
}
