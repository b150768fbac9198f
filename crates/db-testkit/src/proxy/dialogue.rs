//! One connection as the proxy understands it: how much of what has come may pass, and which fault strikes where. Pure: it
//! is given bytes and moves none.

use super::Direction;
use super::frames::{Cutter, Piece, STARTUP};
use super::rules::{Limit, Occurrence, Strike};
use super::statements::{Request, Statements};
use super::transcript::Transcript;

/// What both sides have said so far.
#[derive(Debug)]
pub(super) struct Dialogue {
    to_server: Lane,
    to_client: Lane,
    statements: Statements,
    /// Requests that are not answered yet.
    owed: u64,
    /// The answer to one of them has begun.
    is_answering: bool,
    transcript: Option<Transcript>,
    /// An answer or an acknowledgement is being lost: nothing passes to the client, and this strikes when the server is ready again.
    losing: Option<Strike>,
}

/// What to do with the bytes that were walked over.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// So many at their beginning pass.
    pub(super) pass: usize,
    /// So many after these are lost.
    pub(super) lose: usize,
    /// When that is done, this strikes. Whatever is left is void.
    pub(super) strike: Option<Strike>,
    /// Requests that a ReadyForQuery answers.
    pub(super) requests: u64,
    /// COMMITs that the client sent, those that are lost included.
    pub(super) commits: u64,
    /// COMMITs that the server acknowledged, those whose acknowledgement is lost included.
    pub(super) acknowledged: u64,
    /// What the requests say, if that is recorded.
    pub(super) texts: Vec<String>,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    cutter: Cutter,
    limits: Vec<Counting>,
}

#[derive(Debug)]
struct Counting {
    limit: Limit,
    /// How many bytes are left until it is reached; none while it does not count.
    left: Option<u64>,
}

/// ReadyForQuery outside of a transaction.
const READY_AND_IDLE: &[u8] = b"Z\0\0\0\x05I";

/// Asks which fault strikes.
pub(super) type Decide<'a> = &'a mut dyn FnMut(Occurrence) -> Option<Strike>;

impl Dialogue {
    pub(super) fn new() -> Self {
        let lane = |direction| Lane { cutter: Cutter::new(direction), limits: Vec::new() };
        Self {
            to_server: lane(Direction::ToServer),
            to_client: lane(Direction::ToClient),
            statements: Statements::default(),
            owed: 0,
            is_answering: false,
            transcript: None,
            losing: None,
        }
    }

    /// Keeps the texts of what is requested.
    pub(super) fn recorded(mut self) -> Self {
        self.transcript = Some(Transcript::default());
        self
    }

    /// Counts for these limits from now on; those that it counts for already go on.
    pub(super) fn set_limits(&mut self, limits: &[Limit]) {
        for lane in [&mut self.to_server, &mut self.to_client] {
            lane.limits.retain(|counting| limits.contains(&counting.limit));
        }
        for limit in limits {
            let lane = self.lane(limit.direction);
            if !lane.limits.iter().any(|counting| counting.limit == *limit) {
                let left = (!limit.from_begin).then_some(limit.after);
                lane.limits.push(Counting { limit: *limit, left });
            }
        }
    }

    /// Walks over what waits to pass in one direction: as far as whole messages are needed, and they are there.
    pub(super) fn walk(&mut self, direction: Direction, bytes: &[u8], decide: Decide<'_>) -> Walk {
        let mut walk = Walk::default();
        while walk.strike.is_none() {
            let rest = &bytes[walk.pass + walk.lose..];
            let mut is_idle = false;
            if direction == Direction::ToClient && !rest.is_empty() {
                self.begin_answer(decide);
            }
            let length = match self.lane(direction).cutter.cut(rest) {
                Piece::Incomplete => break,
                Piece::Plain(length) => length,
                Piece::Encryption => {
                    self.to_server.cutter.give_up();
                    self.to_client.cutter.give_up();
                    1
                }
                Piece::Message(tag, length) => {
                    let message = &rest[..length];
                    is_idle = direction == Direction::ToClient && message == READY_AND_IDLE;
                    match direction {
                        Direction::ToServer => self.asked(tag, message, &mut walk, decide),
                        Direction::ToClient => self.answered(tag, message, &mut walk, decide),
                    }
                    length
                }
            };
            if self.losing.is_some() && direction == Direction::ToClient {
                walk.lose += length;
            } else if walk.strike.is_none() {
                let (passed, strike) = self.lane(direction).pass(length, decide);
                walk.pass += passed;
                walk.strike = strike;
            }
            if is_idle {
                self.to_server.end();
                self.to_client.end();
            }
        }
        walk
    }

    fn asked(&mut self, tag: u8, message: &[u8], walk: &mut Walk, decide: Decide<'_>) {
        if tag == STARTUP {
            match message[4..8] {
                // SSLRequest, GSSENCRequest: another startup message follows, or encryption.
                [4, 210, 22, 47 | 48] => self.to_client.cutter.expect_answer(),
                // CancelRequest: nothing follows.
                [4, 210, 22, 46] => self.to_server.cutter.give_up(),
                _ => self.to_server.cutter.expect_messages(),
            }
            return;
        }
        if let Some(transcript) = &mut self.transcript {
            walk.texts.extend(transcript.see(tag, &message[5..]));
        }
        if b"QSF".contains(&tag) {
            walk.requests += 1;
            self.owed += 1;
            walk.strike = decide(Occurrence::Request);
        }
        let request = self.statements.see(tag, &message[5..]);
        if request == Request::Other {
            return;
        }
        if request.begins() {
            self.to_server.begin();
            self.to_client.begin();
        }
        if request.commits() {
            walk.commits += 1;
            let strike = decide(Occurrence::Commit);
            walk.strike = walk.strike.take().or(strike);
        }
    }

    /// What comes unasked is no answer.
    fn begin_answer(&mut self, decide: Decide<'_>) {
        if self.owed > 0 && !self.is_answering {
            self.is_answering = true;
            let strike = decide(Occurrence::Answer);
            self.losing = self.losing.take().or(strike);
        }
    }

    fn answered(&mut self, tag: u8, message: &[u8], walk: &mut Walk, decide: Decide<'_>) {
        match tag {
            b'C' if message[5..] == *b"COMMIT\0" => {
                walk.acknowledged += 1;
                let strike = decide(Occurrence::Acknowledgement);
                self.losing = self.losing.take().or(strike);
            }
            b'Z' => {
                self.owed -= u64::from(self.is_answering);
                self.is_answering = false;
                walk.strike = self.losing.take();
            }
            _ => {}
        }
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

impl Lane {
    fn begin(&mut self) {
        for counting in self.limits.iter_mut().filter(|counting| counting.limit.from_begin) {
            counting.left = Some(counting.limit.after);
        }
    }

    /// The transaction is over, and nothing of what follows counts.
    fn end(&mut self) {
        for counting in self.limits.iter_mut().filter(|counting| counting.limit.from_begin) {
            counting.left = None;
        }
    }

    /// Lets so many bytes pass, or fewer if a limit is reached whose rule strikes.
    fn pass(&mut self, length: usize, decide: Decide<'_>) -> (usize, Option<Strike>) {
        loop {
            let reached = self
                .limits
                .iter_mut()
                .filter_map(|counting| Some((usize::try_from(counting.left?).ok()?, counting)))
                .filter(|(left, _)| *left <= length)
                .min_by_key(|(left, _)| *left);
            let Some((left, counting)) = reached else { break };
            counting.left = None;
            let strike = decide(Occurrence::Reached(counting.limit.rule));
            if strike.is_some() {
                return (left, strike);
            }
        }
        for left in self.limits.iter_mut().filter_map(|counting| counting.left.as_mut()) {
            *left -= length as u64;
        }
        (length, None)
    }
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
