//! What `cargo xtask proxy` can be told, as text: values of its options, and lines that are typed while it runs. Does
//! nothing of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use db_testkit::{Direction, End, Refusal};

/// All that can be typed.
pub(super) const HELP: &str = "\
drop-commit WHICH          COMMITs never arrive: 3 (the third from now), every, 0.1 (one of ten)
drop-ack WHICH             they are executed, and the client does not learn of it
reset-after BYTES:DIR      cuts connections after so many bytes: 117:to-server, 5:to-client
end HOW                    what becomes of connections that later faults strike: reset, close, silence
delay-ms MS                latency: 20, or to-server=20,to-client=5
stall [DIR]                nothing passes, in one direction or in both
refuse [HOW]               new connections are refused: reset, silence
cut                        resets all connections
forget                     they are dead, and nobody is told
heal                       everything passes again, and no fault is left
status                     what was seen so far
help                       this
quit                       ends";

/// A line that was understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    Inject(Fault),
    Delay(Delays),
    Stall(Option<Direction>),
    Refuse(Refusal),
    End(End),
    Cut,
    Forget,
    Heal,
    Status,
    Help,
    Quit,
}

/// A fault as it was typed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    DropCommit(Times),
    DropAck(Times),
    ResetAfter(After),
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Times {
    Nth(u64),
    Every,
    Sometimes(f64),
}

/// So many bytes in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct After {
    bytes: u64,
    direction: Direction,
}

/// Latencies; those that were not given stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Delays {
    pub(super) to_server: Option<Duration>,
    pub(super) to_client: Option<Duration>,
}

/// Reads a line; an empty one asks for nothing.
pub(super) fn order(line: &str) -> Result<Option<Order>> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next() else { return Ok(None) };
    let value = words.next();
    ensure!(words.next().is_none(), "{verb} takes one value at most");
    let needed = || value.with_context(|| format!("{verb} needs a value; `help` shows which"));
    let order = match verb {
        "drop-commit" => Order::Inject(Fault::DropCommit(needed()?.parse()?)),
        "drop-ack" => Order::Inject(Fault::DropAck(needed()?.parse()?)),
        "reset-after" => Order::Inject(Fault::ResetAfter(needed()?.parse()?)),
        "end" => Order::End(end(needed()?)?),
        "delay-ms" => Order::Delay(needed()?.parse()?),
        "stall" => Order::Stall(value.map(direction).transpose()?),
        "refuse" => Order::Refuse(refusal(value.unwrap_or("reset"))?),
        _ => {
            let order = match verb {
                "cut" => Order::Cut,
                "forget" => Order::Forget,
                "heal" => Order::Heal,
                "status" => Order::Status,
                "help" => Order::Help,
                "quit" => Order::Quit,
                _ => bail!("`{verb}` is not known; what is:\n{HELP}"),
            };
            ensure!(value.is_none(), "{verb} takes no value");
            order
        }
    };
    Ok(Some(order))
}

pub(super) fn direction(text: &str) -> Result<Direction> {
    match text {
        "to-server" => Ok(Direction::ToServer),
        "to-client" => Ok(Direction::ToClient),
        _ => bail!("`{text}` is no direction: to-server, to-client"),
    }
}

pub(super) fn refusal(text: &str) -> Result<Refusal> {
    match text {
        "reset" => Ok(Refusal::Reset),
        "silence" => Ok(Refusal::Silence),
        _ => bail!("`{text}` is no way to refuse: reset, silence"),
    }
}

pub(super) fn end(text: &str) -> Result<End> {
    match text {
        "reset" => Ok(End::Reset),
        "close" => Ok(End::Close),
        "silence" => Ok(End::Silence),
        _ => bail!("`{text}` is no end: reset, close, silence"),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.with_context(|| format!("`{text}` is no number of seconds"))
}

impl FromStr for Times {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "every" {
            return Ok(Self::Every);
        }
        match (text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(n @ 1..), _) => Ok(Self::Nth(n)),
            (Err(_), Ok(probability)) if (0.0..=1.0).contains(&probability) => {
                Ok(Self::Sometimes(probability))
            }
            _ => {
                bail!("`{text}` is none of: a position (1, 2, ...), `every`, a probability (0.1)")
            }
        }
    }
}

impl FromStr for After {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (bytes, way) = text
            .split_once(':')
            .with_context(|| format!("`{text}` is not BYTES:DIRECTION, as in 117:to-server"))?;
        let bytes = bytes.parse().with_context(|| format!("`{bytes}` is no number of bytes"))?;
        Ok(Self { bytes, direction: direction(way)? })
    }
}

impl FromStr for Delays {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut delays = Self::default();
        for part in text.split(',') {
            let (way, number) = match part.split_once('=') {
                Some((way, number)) => (Some(direction(way)?), number),
                None => (None, part),
            };
            let number =
                number.parse().with_context(|| format!("`{number}` is no number of milliseconds"))?;
            let by = Some(Duration::from_millis(number));
            match way {
                Some(Direction::ToServer) => delays.to_server = by,
                Some(Direction::ToClient) => delays.to_client = by,
                None => (delays.to_server, delays.to_client) = (by, by),
            }
        }
        Ok(delays)
    }
}

impl Fault {
    pub(super) fn with(self, end: End, seed: u64) -> db_testkit::Fault {
        let (fault, times) = match self {
            Self::DropCommit(times) => (db_testkit::Fault::lost_commit(), times),
            Self::DropAck(times) => (db_testkit::Fault::lost_acknowledgement(), times),
            Self::ResetAfter(After { bytes, direction }) => {
                (db_testkit::Fault::cut_after(direction, bytes), Times::Every)
            }
        };
        match times {
            Times::Every => fault,
            Times::Nth(n) => fault.nth(n),
            Times::Sometimes(probability) => fault.sometimes(probability, seed),
        }
        .end(end)
    }
}

/// As it is typed.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropCommit(times) => write!(f, "drop-commit {times}"),
            Self::DropAck(times) => write!(f, "drop-ack {times}"),
            Self::ResetAfter(After { bytes, direction: Direction::ToServer }) => {
                write!(f, "reset-after {bytes}:to-server")
            }
            Self::ResetAfter(After { bytes, .. }) => write!(f, "reset-after {bytes}:to-client"),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(n) => write!(f, "{n}"),
            Self::Every => f.write_str("every"),
            Self::Sometimes(probability) => write!(f, "{probability}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let check = |line, expect| assert_eq!(order(line).expect(line), Some(expect), "{line}");
        let millis = |number| Some(Duration::from_millis(number));
        check("drop-commit 1", Order::Inject(Fault::DropCommit(Times::Nth(1))));
        check(" drop-ack  every ", Order::Inject(Fault::DropAck(Times::Every)));
        check("drop-ack 0.25", Order::Inject(Fault::DropAck(Times::Sometimes(0.25))));
        let after = After { bytes: 117, direction: Direction::ToServer };
        check("reset-after 117:to-server", Order::Inject(Fault::ResetAfter(after)));
        check("delay-ms 5", Order::Delay(Delays { to_server: millis(5), to_client: millis(5) }));
        check("delay-ms to-client=7", Order::Delay(Delays { to_server: None, to_client: millis(7) }));
        check("stall", Order::Stall(None));
        check("stall to-client", Order::Stall(Some(Direction::ToClient)));
        check("refuse", Order::Refuse(Refusal::Reset));
        check("refuse silence", Order::Refuse(Refusal::Silence));
        check("end close", Order::End(End::Close));
        check("heal", Order::Heal);
        assert_eq!(order("  ").expect("nothing"), None);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let check = |line, expect: &str| {
            let error = format!("{:#}", order(line).expect_err(line));
            assert!(error.contains(expect), "{line}: {error}");
        };
        check("drop", "`drop` is not known; what is:\ndrop-commit WHICH");
        check("drop-commit", "drop-commit needs a value");
        check("drop-commit 0", "is none of: a position");
        check("drop-commit 1.5", "is none of: a position");
        check("drop-commit -1", "is none of: a position");
        check("drop-commit NaN", "is none of: a position");
        check("reset-after 5", "is not BYTES:DIRECTION");
        check("reset-after x:to-server", "`x` is no number of bytes");
        check("reset-after 5:up", "`up` is no direction: to-server, to-client");
        check("delay-ms up=3", "`up` is no direction");
        check("delay-ms to-server=x", "`x` is no number of milliseconds");
        check("refuse politely", "reset, silence");
        check("cut 3", "cut takes no value");
        check("stall to-server now", "takes one value at most");
    }

    #[test]
    fn every_order_is_in_the_help() {
        for line in HELP.lines() {
            let verb = line.split_whitespace().next().expect("a verb");
            let error = order(verb).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("is not known"), "{verb}");
        }
    }
}
