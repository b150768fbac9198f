//! Chromium, driven over chromedriver: the dozen calls of WebDriver that are needed here, as JSON over HTTP. A client library
//! would bring more than it takes away; knows nothing of the page.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use ureq::Agent;

use crate::wait::wait_for;

/// How a browser is had.
const MISSING: &str = "not found: apt-get install chromium chromium-driver";

/// chromedriver under way.
pub(crate) struct Driver {
    child: Child,
    port: u16,
    /// Kept open: whoever writes to what nobody reads is ended by that.
    output: Option<Lines<BufReader<ChildStdout>>>,
}

/// A browser with one page. Closed when it is dropped.
pub(crate) struct Browser {
    agent: Agent,
    session: String,
}

/// A key that is no letter, as WebDriver writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Tab,
    Enter,
    Left,
}

impl Driver {
    pub(crate) fn start(out: &Path) -> Result<Self> {
        for program in ["chromium", "chromedriver"] {
            let found =
                Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            found.map_err(|_| anyhow!("{program} {MISSING}"))?;
        }
        let log = File::create(out.join("chromedriver.log"))?;
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut driver = Self { child: command.spawn().context("chromedriver")?, port: 0, output: None };
        let output = driver.child.stdout.take().context("its output")?;
        let mut output = BufReader::new(output).lines();
        while let Some(line) = output.next().transpose()? {
            let port = line.split_once("started successfully on port ").map(|(_, port)| port);
            if let Some(port) = port {
                driver.port = port.trim_end_matches('.').parse().context(line.clone())?;
                driver.output = Some(output);
                return Ok(driver);
            }
        }
        bail!("chromedriver ended before it was ready (see chromedriver.log)")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let pid = self.child.id().try_into().map(Pid::from_raw);
        let told = pid.is_ok_and(|pid| kill(pid, Signal::SIGTERM).is_ok());
        let limit = Duration::from_secs(if told { 10 } else { 0 });
        if wait_for("its end", limit, || Ok(self.child.try_wait()?)).is_err() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

impl Browser {
    pub(crate) fn open(driver: &Driver) -> Result<Self> {
        let mut arguments = vec!["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
        // Chromium's own sandbox does not work for root.
        if Uid::effective().is_root() {
            arguments.push("--no-sandbox");
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let agent = Agent::from(config);
        let root = format!("http://127.0.0.1:{}", driver.port);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let answer = ask(&agent, &format!("{root}/session"), &wanted)?;
        let id = answer["sessionId"].as_str().context("no session")?;
        let browser = Self { agent, session: format!("{root}/session/{id}") };
        // Kept for `console` and `requests`.
        browser.cdp("Network.enable", &json!({}))?;
        Ok(browser)
    }

    pub(crate) fn go(&self, url: &str) -> Result<()> {
        self.call("url", &json!({ "url": url })).map(drop)
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value> {
        self.call("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// As [`Browser::run`], for a text.
    pub(crate) fn text(&self, script: &str) -> Result<String> {
        let value = self.run(script)?;
        value.as_str().map(str::to_owned).with_context(|| format!("{script}: {value}"))
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn cdp(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.call("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub(crate) fn press(&self, key: Key) -> Result<()> {
        let key = match key {
            Key::Tab => "\u{e004}",
            Key::Enter => "\u{e007}",
            Key::Left => "\u{e012}",
        };
        self.keys(key)
    }

    /// Types into what has the focus.
    pub(crate) fn keys(&self, text: &str) -> Result<()> {
        let strokes = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key })));
        let strokes: Vec<_> = strokes.collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.call("actions", &actions).map(drop)
    }

    /// The page as PNG, whole and not only what is in view.
    pub(crate) fn screenshot(&self) -> Result<Vec<u8>> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.cdp("Page.captureScreenshot", &wanted)?;
        Ok(STANDARD.decode(shot["data"].as_str().context("no picture")?)?)
    }

    /// What the console said since the last call, of warnings and errors; each of them once.
    pub(crate) fn console(&self) -> Result<BTreeSet<String>> {
        let lines = self.log("browser")?;
        let is_bad = |line: &&Value| ["WARNING", "SEVERE"].iter().any(|level| line["level"] == *level);
        let said = lines.iter().filter(is_bad).filter_map(|line| line["message"].as_str());
        Ok(said.map(str::to_owned).collect())
    }

    /// The addresses that were asked for since the last call.
    pub(crate) fn requests(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for line in self.log("performance")? {
            let event: Value = serde_json::from_str(line["message"].as_str().unwrap_or_default())?;
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                found.push(event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(found)
    }

    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let lines = self.call("se/log", &json!({ "type": kind }))?;
        Ok(lines.as_array().cloned().unwrap_or_default())
    }

    fn call(&self, what: &str, body: &Value) -> Result<Value> {
        ask(&self.agent, &format!("{}/{what}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.agent.delete(&self.session).call().ok();
    }
}

fn ask(agent: &Agent, url: &str, body: &Value) -> Result<Value> {
    let mut answer: Value =
        agent.post(url).send_json(body)?.body_mut().with_config().limit(100 << 20).read_json()?;
    let value = answer["value"].take();
    if let Some(error) = value["error"].as_str() {
        let what = url.rsplit_once("/session").map_or(url, |(_, what)| what);
        let message = value["message"].as_str().unwrap_or_default();
        bail!("{what}: {error}: {}", message.lines().next().unwrap_or_default());
    }
    Ok(value)
}
