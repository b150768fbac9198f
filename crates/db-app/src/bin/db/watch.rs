//! Looking again and again: in place on a terminal, block after block elsewhere, one JSON document a line where that is asked
//! for. What is shown is the command's.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::output::{self, say};
use crate::signals::Signals;

/// The option for it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Watch {
    /// Look again every so many seconds, until interrupted; with --json one document a line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Over the one before.
    Screen,
    /// Below the one before.
    Below,
}

impl Watch {
    pub(crate) fn every(self) -> Option<Duration> {
        self.watch
    }
}

/// Something that can be looked at again and again.
pub(crate) trait Look {
    /// For scripts.
    fn document(&self) -> Result<Value>;

    /// For people.
    fn lines(&self) -> Vec<String>;
}

/// Shows what `look` gives until a signal comes, or nobody reads any more.
pub(crate) async fn watch<T: Look>(every: Duration, json: bool, look: impl AsyncFn() -> T) -> Result<()> {
    let mut signals = Signals::install()?;
    let place = if stdout().is_terminal() { Place::Screen } else { Place::Below };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    while !output::is_closed() {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = signals.next() => break,
        }
        let now = tokio::select! {
            now = look() => now,
            _ = signals.next() => break,
        };
        if json {
            output::json_line(&now.document()?);
        } else {
            say!("{}", frame(place, is_first, &now.lines()));
        }
        is_first = false;
    }
    Ok(())
}

/// One look as text. On a screen each line is cleared behind its end, and what is left of a longer look below; nothing flickers.
fn frame(place: Place, is_first: bool, lines: &[String]) -> String {
    match place {
        Place::Screen => {
            let begin = if is_first { "\x1b[2J\x1b[H" } else { "\x1b[H" };
            format!("{begin}{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))
        }
        Place::Below if is_first => lines.join("\n"),
        Place::Below => format!("\n{}", lines.join("\n")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0.1 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_and_a_file_is_appended_to() {
        let lines = ["a".to_owned(), "b".to_owned()];
        let check = |place, is_first, expect: &str| assert_eq!(frame(place, is_first, &lines), expect);
        check(Place::Screen, true, "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\x1b[J");
        check(Place::Screen, false, "\x1b[Ha\x1b[K\nb\x1b[K\x1b[J");
        check(Place::Below, true, "a\nb");
        check(Place::Below, false, "\na\nb");
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        let check = |text, expect: Option<u64>| {
            assert_eq!(seconds(text).ok(), expect.map(Duration::from_millis), "{text}");
        };
        check("2", Some(2_000));
        check("0.5", Some(500));
        check("0", None);
        check("-1", None);
        check("inf", None);
        check("NaN", None);
        check("soon", None);
    }
}
