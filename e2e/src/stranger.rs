//! Somebody from elsewhere, as a proxy in front of the service would bring them: only the token opens the page.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::browser::Key;
use crate::page::Page;
use crate::report::Report;
use crate::service::TOKEN;

const FORM: &str = "return !document.getElementById('gate').hidden && document.activeElement.id === 'token'";
const KEPT: &str = "return Object.values(sessionStorage).concat(Object.values(localStorage)).join(' ')";

pub(crate) fn check(page: &Page, report: &mut Report) -> Result<()> {
    page.look(1440, "light", "no-preference")?;
    page.browser
        .cdp("Network.setExtraHTTPHeaders", &json!({ "headers": { "X-Forwarded-For": "192.0.2.7" } }))?;
    page.load()?;
    report.check("a stranger is asked for the token and sees no figures", || {
        page.wait("the form", 5, FORM)?;
        let shown = page.browser.text("return document.body.innerText")?;
        ensure!(!shown.contains("PostgreSQL") && !shown.contains("127.0.0.1"), "{shown}");
        Ok(String::new())
    });
    report.check("form: both widths, both themes", || page.inspect("form"));
    report.check("a wrong token is refused in words, and not kept", || {
        page.browser.keys("wrong-0123456789-wrong")?;
        page.browser.press(Key::Enter)?;
        let refused = "return document.getElementById('gate-error').innerText.includes('refused')";
        page.wait("the refusal", 5, refused)?;
        ensure!(page.browser.run(FORM)? == true, "the form is gone");
        ensure!(!page.browser.text(KEPT)?.contains("wrong"), "it was kept");
        page.shown("gate-error")
    });
    report.check("what cannot be a token is refused as well", || {
        page.browser.run("document.getElementById('token').value = ''")?;
        page.browser.keys("żółw")?;
        page.browser.press(Key::Enter)?;
        page.shown("gate-error")
    });
    report.check("the right token opens the page, for this tab only", || {
        page.browser.run("document.getElementById('token').value = ''")?;
        page.browser.keys(TOKEN)?;
        page.browser.press(Key::Enter)?;
        page.wait_for_status("healthy", 10)?;
        page.wait("the figures", 2, "return !document.getElementById('figures').hidden")?;
        ensure!(
            page.browser.run("return Object.keys(localStorage).every((key) => key === 'db-theme')")? == true,
            "kept"
        );
        let address = page.browser.text("return location.href")?;
        ensure!(!address.contains(TOKEN), "the token is in the address");
        ensure!(
            page.browser.run("return document.documentElement.outerHTML")?.to_string().find(TOKEN).is_none(),
            "shown"
        );
        page.load()?;
        page.wait_for_status("healthy", 10)?;
        Ok(String::new())
    });
    report.check("the token can be forgotten", || {
        page.browser.run("document.getElementById('forget').focus()")?;
        page.browser.press(Key::Enter)?;
        page.wait("the form", 5, FORM)?;
        ensure!(!page.browser.text(KEPT)?.contains(TOKEN), "it is still kept");
        Ok(String::new())
    });
    report.check("only refusals in the console", || {
        let said = page.browser.console()?;
        let is_refusal = |line: &&String| line.contains("/api/live") && line.contains("401");
        let others: Vec<_> = said.iter().filter(|line| !is_refusal(line)).collect();
        ensure!(others.is_empty(), "{others:?}");
        Ok(String::new())
    });
    page.browser.cdp("Network.setExtraHTTPHeaders", &json!({ "headers": {} }))?;
    Ok(())
}
