//! Tests of what passes on one connection.

use super::Direction::{ToClient, ToServer};
use super::*;
use crate::proxy::Fault;
use crate::proxy::rules::Rules;

/// A message of either side; the startup message has the tag 0.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    let tag = if tag == STARTUP { &[][..] } else { &[tag][..] };
    [tag, &length, body].concat()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

fn started() -> Dialogue {
    let mut dialogue = Dialogue::new();
    let startup = message(STARTUP, b"\0\x03\0\0user\0a\0\0");
    let walk = dialogue.walk(ToServer, &startup, &mut |_| None);
    assert_eq!(walk.pass, startup.len());
    dialogue
}

/// One connection under some faults.
struct Scene {
    dialogue: Dialogue,
    rules: Rules,
}

impl Scene {
    fn with(faults: &[Fault]) -> Self {
        let (mut rules, mut dialogue) = (Rules::default(), started());
        faults.iter().for_each(|fault| drop(rules.add(*fault)));
        dialogue.set_limits(&rules.limits().collect::<Vec<_>>());
        Self { dialogue, rules }
    }

    /// What passes, what is lost, and whether a fault strikes.
    fn walk(&mut self, direction: Direction, bytes: &[u8]) -> (usize, usize, bool) {
        let Self { dialogue, rules } = self;
        let walk = dialogue.walk(direction, bytes, &mut |occurrence| rules.decide(occurrence));
        (walk.pass, walk.lose, walk.strike.is_some())
    }
}

const COMPLETE: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const IN_TRANSACTION: &[u8] = b"Z\0\0\0\x05T";

#[test]
fn a_lost_commit_does_not_pass_and_what_came_before_it_does() {
    let mut scene = Scene::with(&[Fault::lost_commit().nth(2)]);
    let (insert, commit) = (query("INSERT INTO t VALUES (1)"), query("COMMIT"));
    assert_eq!(scene.walk(ToServer, &commit), (commit.len(), 0, false));
    let both = [&insert[..], &commit, &insert].concat();
    assert_eq!(scene.walk(ToServer, &both[..insert.len() + 9]), (insert.len(), 0, false), "held back");
    assert_eq!(scene.walk(ToServer, &both[insert.len()..]), (0, 0, true));
}

#[test]
fn a_lost_acknowledgement_is_swallowed_until_the_server_is_ready() {
    let mut scene = Scene::with(&[Fault::lost_acknowledgement()]);
    let inserted = message(b'C', b"INSERT 0 1\0");
    let answer = [&inserted[..], COMPLETE].concat();
    assert_eq!(scene.walk(ToClient, &answer), (inserted.len(), COMPLETE.len(), false));
    assert_eq!(scene.walk(ToClient, &inserted), (0, inserted.len(), false));
    assert_eq!(scene.walk(ToClient, READY), (0, 0, true));
}

#[test]
fn the_nth_request_is_lost_whatever_it_is() {
    let mut scene = Scene::with(&[Fault::lost_request().nth(3)]);
    let (select, parse, sync) = (query("SELECT 1"), message(b'P', b"s\0SELECT 1\0\0\0"), message(b'S', b""));
    let all = [&select[..], &parse, &sync, &parse, &sync].concat();
    assert_eq!(scene.walk(ToServer, &all), (all.len() - sync.len(), 0, true));
}

#[test]
fn a_lost_answer_is_swallowed_from_its_first_byte() {
    let mut scene = Scene::with(&[Fault::lost_answer().nth(2)]);
    let (row, done, notice) = (message(b'D', b"row"), message(b'C', b"SELECT 1\0"), message(b'N', b"note\0"));
    assert_eq!(scene.walk(ToClient, READY), (6, 0, false), "nobody has asked");
    let both = [query("SELECT 1"), query("SELECT 2")].concat();
    assert_eq!(scene.walk(ToServer, &both), (both.len(), 0, false));
    let answer = [&row[..], &done, READY].concat();
    assert_eq!(scene.walk(ToClient, &answer), (answer.len(), 0, false));
    assert_eq!(scene.walk(ToClient, &row[..6]), (0, 6, false));
    assert_eq!(scene.walk(ToClient, &[&row[6..], &notice, &done].concat()).0, 0);
    assert_eq!(scene.walk(ToClient, READY), (0, 0, true));
    // What comes unasked is no answer.
    let mut scene = Scene::with(&[Fault::lost_answer()]);
    assert_eq!(scene.walk(ToClient, &notice), (notice.len(), 0, false));
    assert_eq!(scene.walk(ToServer, &query("SELECT 1")).0, query("SELECT 1").len());
    assert_eq!(scene.walk(ToClient, &answer), (0, answer.len() - 6, true));
}

#[test]
fn only_a_commit_is_acknowledged() {
    let mut scene = Scene::with(&[Fault::lost_acknowledgement()]);
    for tag in ["ROLLBACK\0", "COMMIT PREPARED\0", "BEGIN\0"] {
        let answer = [&message(b'C', tag.as_bytes())[..], READY].concat();
        assert_eq!(scene.walk(ToClient, &answer), (answer.len(), 0, false), "{tag}");
    }
}

#[test]
fn what_is_seen_is_counted() {
    let mut dialogue = started();
    let execution = [
        message(b'P', b"s\0COMMIT\0\0\0"),
        message(b'B', b"\0s\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
        query("SELECT 1"),
    ]
    .concat();
    let walk = dialogue.walk(ToServer, &execution, &mut |_| None);
    assert_eq!((walk.pass, walk.requests, walk.commits), (execution.len(), 2, 1));
    let answer = [COMPLETE, READY].concat();
    let walk = dialogue.walk(ToClient, &answer, &mut |_| None);
    assert_eq!((walk.pass, walk.acknowledged), (answer.len(), 1));
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    let text = query("SELECT 1");
    for after in 0..=20 {
        let mut scene = Scene::with(&[Fault::cut_after(ToServer, after)]);
        let (after, length) = (usize::try_from(after).expect("small"), text.len());
        if after <= length {
            assert_eq!(scene.walk(ToServer, &text), (after, 0, true), "{after}");
            assert_eq!(scene.walk(ToServer, &text).0, length, "a connection is struck once");
        } else {
            assert_eq!(scene.walk(ToServer, &text), (length, 0, false), "{after}");
            assert_eq!(scene.walk(ToServer, &text), (after - length, 0, true), "{after}");
        }
    }
}

#[test]
fn from_begin_counts_one_transaction() {
    let (begin, select) = (query("BEGIN"), query("SELECT 1"));
    let one = u64::try_from(begin.len()).expect("short");
    let mut scene = Scene::with(&[
        Fault::cut_after(ToServer, one + 3).from_begin(),
        Fault::cut_after(ToClient, 7).from_begin(),
    ]);
    assert_eq!(scene.walk(ToServer, &select), (select.len(), 0, false));
    assert_eq!(scene.walk(ToClient, READY), (READY.len(), 0, false));
    // One that ends before.
    assert_eq!(scene.walk(ToServer, &begin), (begin.len(), 0, false));
    assert_eq!(scene.walk(ToClient, READY), (READY.len(), 0, false));
    assert_eq!(scene.walk(ToServer, &select), (select.len(), 0, false), "outside of it");
    assert_eq!(scene.walk(ToClient, READY), (READY.len(), 0, false), "outside of it");
    // One that goes on.
    let all = [&select[..], &begin, &select].concat();
    assert_eq!(scene.walk(ToServer, &all), (select.len() + begin.len() + 3, 0, true));
    assert_eq!(scene.walk(ToClient, IN_TRANSACTION), (6, 0, false));
    assert_eq!(scene.walk(ToClient, READY), (1, 0, true));
}

#[test]
fn encryption_ends_the_reading() {
    let request = message(STARTUP, b"\x04\xd2\x16\x2f");
    let commit = query("COMMIT");
    let check = |answer: &[u8], is_read: bool| {
        let mut dialogue = Dialogue::new();
        assert_eq!(dialogue.walk(ToServer, &request, &mut |_| None).pass, 8);
        assert_eq!(dialogue.walk(ToClient, answer, &mut |_| None).pass, 1);
        if is_read {
            let startup = message(STARTUP, b"\0\x03\0\0user\0a\0\0");
            assert_eq!(dialogue.walk(ToServer, &startup, &mut |_| None).pass, startup.len());
        }
        let walk = dialogue.walk(ToServer, &commit, &mut |_| None);
        assert_eq!((walk.pass, walk.commits), (commit.len(), u64::from(is_read)));
    };
    check(b"S", false);
    check(b"N", true);
}

#[test]
fn a_request_to_cancel_passes() {
    let mut dialogue = Dialogue::new();
    let cancel = message(STARTUP, b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02");
    assert_eq!(dialogue.walk(ToServer, &cancel[..10], &mut |_| None).pass, 0);
    assert_eq!(dialogue.walk(ToServer, &cancel, &mut |_| None).pass, 16);
}
