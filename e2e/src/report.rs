//! One line for each check, and the sum.

use anyhow::Result;

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Runs a check and prints how it ended; the text that it gives is printed beside its name.
    pub(crate) fn check(&mut self, name: &str, work: impl FnOnce() -> Result<String>) {
        match work() {
            Ok(found) => {
                self.passed += 1;
                let found = if found.is_empty() { found } else { format!(" ({found})") };
                println!("ok      {name}{found}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }

    /// Prints the sum; true when there were checks and all passed.
    pub(crate) fn end(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}
