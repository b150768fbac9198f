//! How far a bench is: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Nothing is drawn unless standard error is a terminal. It has no color.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{msg:24} [{bar:32}] {pos}/{len}  {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// Begins anew with so many steps; without a number it only shows that something goes on.
    pub(super) fn begin(&self, text: &'static str, steps: Option<u64>) {
        let template = match steps {
            Some(_) => "{msg:14} [{bar:32}] {pos}/{len}  {elapsed}",
            None => "{spinner} {msg}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style.progress_chars("=> "));
        }
        self.0.reset();
        match steps {
            Some(steps) => self.0.set_length(steps),
            None => self.0.unset_length(),
        }
        self.0.set_message(text);
        self.0.enable_steady_tick(Duration::from_millis(120));
    }

    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    pub(super) fn end(&self) {
        self.0.disable_steady_tick();
        self.0.finish_and_clear();
    }
}
