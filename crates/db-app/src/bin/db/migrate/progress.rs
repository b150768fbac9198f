//! Tells people what happens while it happens: what is done goes to standard output, a line each; what is under way to
//! standard error, on a terminal as one line that changes. It also knows which file runs, for whoever interrupts it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_migrate::{Blocked, Failed, Finished, Holder, IndexBuild, Progress, Retrying, Started, Waiting};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::say;

/// Which file runs now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now(Arc<Mutex<Option<String>>>);

/// The progress of a run, for people.
pub(crate) struct Printer {
    now: Now,
    /// Whether standard output is for people.
    is_told: bool,
    /// What is under way; nothing is drawn unless standard error is a terminal.
    bar: ProgressBar,
    /// What was said last of a wait, which is told again and again.
    last: Mutex<String>,
}

impl Now {
    /// The file that runs, if one does.
    pub(crate) fn file(&self) -> Option<String> {
        self.lock().clone()
    }

    fn set(&self, file: Option<&str>) {
        *self.lock() = file.map(str::to_owned);
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Printer {
    /// With `is_told` it says what is done on standard output, which otherwise belongs to a result in JSON.
    pub(crate) fn new(is_told: bool) -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
            bar.set_style(style);
        }
        Self { now: Now::default(), is_told, bar, last: Mutex::default() }
    }

    /// Which file runs, from now on.
    pub(crate) fn now(&self) -> Now {
        self.now.clone()
    }

    fn begin(&self, text: String) {
        self.bar.reset_elapsed();
        self.bar.set_message(text);
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    fn end(&self) {
        self.now.set(None);
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
        self.bar.reset();
    }

    fn done(&self, what: &str, event: &Finished<'_>) {
        self.end();
        if self.is_told {
            say!("{what}  {} ({:.1?})", event.file, event.duration);
        }
    }

    /// What is under way, in more words: on a terminal always the latest, elsewhere a line whenever `what` is something else.
    fn under_way(&self, what: &str, text: &str) {
        let text = format!("{}: {text}", self.now.file().unwrap_or_default());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bar.is_hidden() && *last != what {
            self.note(&text);
        }
        what.clone_into(&mut last);
        self.bar.set_message(text);
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Progress for Printer {
    fn waiting(&self, event: &Waiting<'_>) {
        let holder = match event.holder {
            Some(Holder { pid, application, .. }) => format!(" (server process {pid}, {application:?})"),
            None => String::new(),
        };
        self.note(&format!("waiting for another run to end{holder}, at most {:.0?}", event.limit));
    }

    fn started(&self, event: &Started<'_>) {
        self.now.set(Some(event.file));
        self.begin(format!("{} ({} of {})", event.file, event.position, event.total));
    }

    fn applied(&self, event: &Finished<'_>) {
        self.done("applied    ", event);
    }

    fn rolled_back(&self, event: &Finished<'_>) {
        self.done("rolled back", event);
    }

    fn seeded(&self, _event: &Finished<'_>) {
        self.end();
    }

    fn failed(&self, _event: &Failed<'_>) {
        self.end();
    }

    fn blocked(&self, event: &Blocked<'_>) {
        let blockers: Vec<_> = event.blockers.iter().map(ToString::to_string).collect();
        let pids: Vec<_> = event.blockers.iter().map(|blocker| blocker.pid).collect();
        self.under_way(&format!("{pids:?}"), &format!("waits for {}", blockers.join("; ")));
    }

    fn retrying(&self, event: &Retrying<'_>) {
        let blocker =
            event.blockers.first().map(|blocker| format!(", used by {blocker}")).unwrap_or_default();
        self.note(&format!(
            "{} gave way, since a table that it needs is in use{blocker}; attempt {} in {:.1?}, for {:.0?} at most",
            event.file, event.attempt, event.pause, event.left
        ));
    }

    fn building_index(&self, event: &IndexBuild<'_>) {
        let index = event.index.unwrap_or("a new index");
        let percent = (event.total > 0).then(|| event.done.saturating_mul(100) / event.total);
        let figures = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
        let text = format!("index {index}: {}", event.phase);
        self.under_way(&text, &format!("{text}{figures}"));
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("now", &self.now).finish_non_exhaustive()
    }
}
