//! The page in the browser: how it is looked at, and what it shows.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::wait::wait_for;

/// What a person who does not see well, or has no mouse, needs; gives the problems as texts.
const ACCESSIBILITY: &str = include_str!("../page/accessibility.js");

pub(crate) const WIDTHS: [u32; 2] = [375, 1440];
pub(crate) const THEMES: [&str; 2] = ["light", "dark"];

/// The page, and where its pictures go.
pub(crate) struct Page {
    pub(crate) browser: Browser,
    address: SocketAddr,
    out: PathBuf,
}

impl Page {
    pub(crate) fn new(browser: Browser, address: SocketAddr, out: &Path) -> Self {
        Self { browser, address, out: out.to_owned() }
    }

    /// Where everything that it asks for must be.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn load(&self) -> Result<()> {
        self.browser.go(&format!("{}dashboard", self.origin()))
    }

    /// How wide the window is, which theme the system has, and whether it wants less motion.
    pub(crate) fn look(&self, width: u32, theme: &str, motion: &str) -> Result<()> {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.browser.cdp("Emulation.setDeviceMetricsOverride", &size)?;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": theme },
            { "name": "prefers-reduced-motion", "value": motion },
        ]});
        self.browser.cdp("Emulation.setEmulatedMedia", &features)?;
        let wanted =
            format!("return matchMedia('(width: {width}px) and (prefers-color-scheme: {theme})').matches");
        self.wait(format!("{width} px, {theme}"), 5, &wanted).map(drop)
    }

    /// Waits until a script gives true.
    pub(crate) fn wait(&self, what: impl Display, seconds: u64, script: &str) -> Result<Duration> {
        let look = || Ok((self.browser.run(script)? == true).then_some(()));
        wait_for(what, Duration::from_secs(seconds), look).map(|((), took)| took)
    }

    /// Waits until the status at the top is this one.
    pub(crate) fn wait_for_status(&self, status: &str, seconds: u64) -> Result<Duration> {
        let script = format!("return document.getElementById('overall').dataset.status === '{status}'");
        self.wait(format!("the page to show {status}"), seconds, &script)
    }

    /// The text of an element.
    pub(crate) fn shown(&self, id: &str) -> Result<String> {
        self.browser.text(&format!("return document.getElementById('{id}').innerText"))
    }

    /// At both widths and in both themes: nothing hangs over the edge, everybody can use it, and there is a picture.
    pub(crate) fn inspect(&self, name: &str) -> Result<String> {
        // Whatever was used last has its ring of the keyboard, which belongs on no picture but the form's.
        self.browser.run("const at = document.activeElement; if (!at.closest('form')) at.blur()")?;
        let mut looked = 0;
        for width in WIDTHS {
            for theme in THEMES {
                self.look(width, theme, "no-preference")?;
                let place = format!("{width} px, {theme}");
                self.inspect_here().context(place)?;
                let file = self.out.join(format!("{name}-{width}-{theme}.png"));
                std::fs::write(&file, self.browser.screenshot()?)
                    .with_context(|| file.display().to_string())?;
                looked += 1;
            }
        }
        Ok(format!("{looked} looks"))
    }

    fn inspect_here(&self) -> Result<()> {
        let sizes = self.browser.run(
            "const page = document.documentElement; return [page.scrollWidth, document.body.scrollWidth, page.clientWidth]",
        )?;
        let [wide, body, window] = [&sizes[0], &sizes[1], &sizes[2]].map(Value::as_u64);
        ensure!(window.is_some() && wide <= window && body <= window, "wider than the window: {sizes}");
        let problems = self.browser.run(ACCESSIBILITY)?;
        let problems = problems.as_array().context("no list of problems")?;
        let shown: Vec<_> = problems.iter().filter_map(Value::as_str).take(5).collect();
        ensure!(problems.is_empty(), "{} problems: {}", problems.len(), shown.join("; "));
        Ok(())
    }
}
