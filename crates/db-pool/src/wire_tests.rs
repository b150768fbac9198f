//! What is believed of a connection, by what passes on it.

use proptest::prelude::*;

use super::*;

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[tag][..], &length, body].concat()
}

/// What a session says, and what is to be believed then.
struct Session {
    wire: Wire,
    followed: Followed,
}

impl Session {
    fn new() -> Self {
        let mut session = Self { wire: Wire::default(), followed: Followed::default() };
        session.receives(b'Z', b"I");
        session
    }

    fn sends(&mut self, tags: &[u8]) {
        tags.iter().for_each(|tag| self.followed.send(*tag));
        self.followed.publish(&self.wire);
    }

    fn receives(&mut self, tag: u8, body: &[u8]) {
        self.followed.receive(tag, body, &self.wire);
        self.followed.publish(&self.wire);
    }
}

#[test]
fn a_statement_is_over_when_the_server_is_ready() {
    let mut session = Session::new();
    assert!(session.wire.is_quiet());
    session.sends(b"BES");
    assert!(session.wire.is_owed());
    session.receives(b'E', b"SERROR\0");
    assert!(session.wire.is_owed(), "an error is not the end");
    session.receives(b'Z', b"I");
    assert!(session.wire.is_quiet());
}

#[test]
fn the_ends_of_transactions_are_counted() {
    let mut session = Session::new();
    let mut check = |tag: &[u8], commits, rollbacks, restarts| {
        session.receives(b'C', tag);
        let ends = Ends { commits, rollbacks, restarts };
        assert_eq!(session.wire.ends(), ends, "{}", String::from_utf8_lossy(tag));
    };
    check(b"BEGIN\0", 0, 0, 0);
    check(b"BEGIN\0", 0, 0, 0);
    check(b"ROLLBACK\0", 0, 1, 0);
    check(b"RELEASE\0", 0, 1, 0);
    check(b"BEGIN\0", 0, 1, 1);
    check(b"START TRANSACTION\0", 0, 1, 1);
    check(b"COMMIT\0", 1, 1, 1);
    check(b"PREPARE TRANSACTION\0", 2, 1, 1);
    check(b"COMMIT PREPARED\0", 2, 1, 1);
}

#[test]
fn a_transaction_is_followed() {
    let mut session = Session::new();
    session.sends(b"Q");
    session.receives(b'Z', b"T");
    assert_eq!(session.wire.transaction(), Transaction::Open);
    assert!(!session.wire.is_quiet() && !session.wire.is_owed());
    session.sends(b"Q");
    session.receives(b'Z', b"E");
    assert_eq!(session.wire.transaction(), Transaction::Failed);
}

#[test]
fn requests_in_a_row_are_counted() {
    let mut session = Session::new();
    session.sends(b"BESBESQ");
    for _ in 0..2 {
        session.receives(b'Z', b"I");
        assert!(session.wire.is_owed());
    }
    session.receives(b'Z', b"I");
    assert!(session.wire.is_quiet());
}

#[test]
fn the_first_sync_of_a_copy_is_not_answered() {
    let mut session = Session::new();
    session.sends(b"BES");
    session.receives(b'G', b"");
    assert!(session.wire.is_owed(), "the server reads data");
    session.sends(b"ddcS");
    session.receives(b'C', b"COPY 2\0");
    session.receives(b'Z', b"I");
    assert!(session.wire.is_quiet());
}

#[test]
fn a_copy_that_nobody_feeds_is_never_quiet() {
    let mut session = Session::new();
    session.sends(b"Q");
    session.receives(b'G', b"");
    session.receives(b'Z', b"I");
    assert!(session.wire.is_owed());
}

#[test]
fn a_copy_that_failed_is_not_trusted_unless_it_was_given_up() {
    let check = |before: &[u8], error: &[u8], after: &[u8], expect| {
        let mut session = Session::new();
        session.sends(b"BES");
        session.receives(b'G', b"");
        session.sends(before);
        session.receives(b'E', error);
        session.sends(after);
        session.receives(b'Z', b"I");
        assert_eq!(session.wire.is_quiet(), expect);
    };
    let cancelled = b"SFEHLER\0VERROR\0C57014\0Mcancelled\0\0";
    check(b"d", cancelled, b"fS", false);
    check(b"dcS", b"SERROR\0VERROR\0C22P02\0\0", b"", false);
    check(b"dcS", cancelled, b"", false);
    check(b"dfS", cancelled, b"", true);
}

/// Until then a cancel must not be sent: its error could not be told from the one that was asked for.
#[test]
fn a_copy_that_was_given_up_goes_on_until_its_answer() {
    let mut session = Session::new();
    session.sends(b"BES");
    session.receives(b'G', b"");
    assert!(session.wire.is_copying());
    session.sends(b"dfS");
    assert!(session.wire.is_copying(), "the server may not have read it yet");
    session.receives(b'E', b"SERROR\0VERROR\0C57014\0\0");
    assert!(!session.wire.is_copying());
    session.receives(b'Z', b"I");
    assert!(session.wire.is_quiet());
}

#[test]
fn what_outlives_a_transaction_is_noted() {
    let check = |tag: &[u8], expect| assert_eq!(effects_of_tag(tag), expect);
    check(b"SET\0", Effects::SETTING);
    check(b"RESET\0", Effects::SETTING);
    check(b"LISTEN\0", Effects::LISTEN);
    check(b"PREPARE\0", Effects::STATEMENTS);
    check(b"DISCARD ALL\0", Effects::STATEMENTS);
    check(b"DECLARE CURSOR\0", Effects::CURSOR);
    check(b"SELECT 1\0", Effects::NONE);
    check(b"SETTLE\0", Effects::NONE);
}

proptest! {
    #[test]
    fn frames_are_found_in_whatever_pieces_they_come(
        bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..90)), 0..20),
        cuts in prop::collection::vec(1_usize..30, 1..50),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|(tag, body)| frame(*tag, body)).collect();
        let (mut frames, mut seen, mut rest) = (Frames::default(), Vec::new(), &stream[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            frames.walk(piece, |tag, body| seen.push((tag, body.to_vec())));
            rest = later;
        }
        let expect: Vec<_> =
            bodies.iter().map(|(tag, body)| (*tag, body[..body.len().min(KEPT)].to_vec())).collect();
        prop_assert_eq!(seen, expect);
    }
}
