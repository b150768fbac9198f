//! A page at rest: it loads, it is alive, it looks right at each size, and it works by keyboard.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::browser::Key;
use crate::page::Page;
use crate::report::Report;

/// Cases for what computes; gives the differences.
const PIECES: &str = include_str!("../page/pieces.js");

/// Messages with everything in them; gives the differences between what they show and what they should.
const PANELS: &str = include_str!("../page/panels.js");

/// Each thing that the keyboard must reach, marked with a number.
const MARK: &str = "
    const wanted = [...document.querySelectorAll('a[href], button, input, [tabindex=\"0\"]')];
    const visible = wanted.filter((element) => element.checkVisibility());
    visible.forEach((element, index) => { element.dataset.walk = index; });
    document.activeElement?.blur();
    window.getSelection().removeAllRanges();
    scrollTo(0, 0);
    return visible.map((element) => element.id || element.getAttribute('aria-label') || element.textContent)";

/// Where the focus is, and whether one sees it: a line around it that can be told from what is around.
const FOCUS: &str = "
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const style = getComputedStyle(element);
    const { top, bottom } = element.getBoundingClientRect();
    return {
        mark: element.dataset.walk ?? null,
        name: element.id || element.getAttribute('aria-label') || element.localName,
        outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        shown: bottom > 0 && top < innerHeight,
    }";

pub(crate) fn check(page: &Page, report: &mut Report) -> Result<()> {
    page.look(1440, "light", "no-preference")?;
    page.load()?;
    report.check("loads and shows that all is well", || {
        let took = page.wait_for_status("healthy", 10)?;
        ensure!(page.browser.run("return !document.getElementById('figures').hidden")? == true, "no figures");
        Ok(format!("{} ms, {}", took.as_millis(), page.shown("overall-text")?))
    });
    report.check("shows new figures by itself", || updates(page));
    report.check("well: both widths, both themes", || page.inspect("well"));
    report.check("figures, axes and events by their tables of cases", || {
        let differences = page.browser.run(PIECES)?;
        ensure!(differences.as_array().is_some_and(Vec::is_empty), "{differences}");
        Ok(String::new())
    });
    report.check("panels by messages with everything in them", || {
        page.browser.run("document.getElementById('pause').click()")?;
        let differences = page.browser.run(PANELS)?;
        page.browser.run("document.getElementById('pause').click()")?;
        ensure!(differences.as_array().is_some_and(Vec::is_empty), "{differences}");
        Ok(String::new())
    });
    report.check("the theme can be chosen", || themes(page));
    report.check("every control is reached by Tab, with a visible focus", || keyboard_walk(page));
    report.check("the skip link leads to the content", || skip_link(page));
    report.check("a chart is read by arrow keys", || chart_by_keys(page));
    report.check("pause holds the figures still, and lets go", || pause(page));
    report.check("reduced motion: nothing moves", || motion(page));
    report.check("no error and no warning in the console", || {
        let said = page.browser.console()?;
        ensure!(said.is_empty(), "{said:?}");
        Ok(String::new())
    });
    report.check("no request to another host", || {
        let asked = page.browser.requests()?;
        let others: Vec<_> = asked
            .iter()
            .filter(|url| !url.starts_with(&page.origin()) && !url.starts_with("data:"))
            .collect();
        ensure!(others.is_empty(), "{others:?}");
        let live = format!("{}api/live", page.origin());
        ensure!(asked.contains(&live), "the page did not ask for {live}: {asked:?}");
        Ok(format!("{} requests", asked.len()))
    });
    Ok(())
}

fn updates(page: &Page) -> Result<String> {
    let mut longest = 0;
    for _ in 0..3 {
        let before = page.shown("updated")?;
        let script = format!("return document.getElementById('updated').innerText !== '{before}'");
        longest = longest.max(page.wait("new figures", 2, &script)?.as_millis());
    }
    Ok(format!("3 times, within {longest} ms"))
}

/// Automatic, light, dark: the page's own choice goes before the system's, and is kept.
fn themes(page: &Page) -> Result<String> {
    let ground = "return getComputedStyle(document.body).backgroundColor";
    page.look(1440, "dark", "no-preference")?;
    let dark = page.browser.text(ground)?;
    page.look(1440, "light", "no-preference")?;
    let light = page.browser.text(ground)?;
    ensure!(dark != light, "dark and light are the same: {dark}");
    let press = "document.getElementById('theme').click(); return document.getElementById('theme').innerText";
    ensure!(page.browser.text(press)? == "Theme: light", "not the light theme");
    ensure!(page.browser.text(press)? == "Theme: dark", "not the dark theme");
    ensure!(page.browser.text(ground)? == dark, "dark was chosen in a light system");
    page.load()?;
    page.wait_for_status("healthy", 10)?;
    ensure!(page.browser.text(ground)? == dark, "the choice was not kept");
    ensure!(page.browser.text(press)? == "Theme: automatic", "not the system's theme");
    ensure!(page.browser.text(ground)? == light, "automatic in a light system");
    Ok(String::new())
}

fn keyboard_walk(page: &Page) -> Result<String> {
    let mut reached = 0;
    for width in crate::page::WIDTHS {
        page.look(width, "light", "no-preference")?;
        let wanted = page.browser.run(MARK)?;
        let wanted = wanted.as_array().context("a list")?;
        ensure!(wanted.len() >= 5, "only {} controls", wanted.len());
        let mut seen = BTreeSet::new();
        // More than there are: the focus leaves the page at its end and comes in again.
        for _ in 0..wanted.len() + 2 {
            page.browser.press(Key::Tab)?;
            let focus = page.browser.run(FOCUS)?;
            let Some(mark) = focus["mark"].as_str() else { continue };
            ensure!(focus["outlined"] == true, "the focus on {} is not to be seen", focus["name"]);
            ensure!(focus["shown"] == true, "{} has the focus outside of the window", focus["name"]);
            seen.insert(mark.parse::<usize>()?);
        }
        let missed: Vec<_> =
            (0..wanted.len()).filter(|at| !seen.contains(at)).map(|at| &wanted[at]).collect();
        ensure!(missed.is_empty(), "never reached at {width} px: {missed:?}");
        reached = seen.len();
    }
    Ok(format!("{reached} controls"))
}

fn skip_link(page: &Page) -> Result<String> {
    page.look(1440, "light", "no-preference")?;
    page.browser.run(MARK)?;
    page.browser.run("document.querySelector('.skip').focus()")?;
    page.browser.press(Key::Enter)?;
    let at = page.browser.text("return document.activeElement.id")?;
    ensure!(at == "content", "the focus is on {at:?}");
    Ok(String::new())
}

fn chart_by_keys(page: &Page) -> Result<String> {
    let read = "return document.querySelector('#charts .plot').getAttribute('aria-valuetext')";
    page.browser.run("document.querySelector('#charts .plot').focus()")?;
    // A second figure is needed for there to be an earlier one.
    page.wait(
        "a line",
        5,
        "return document.querySelector('#charts .plot .line').getAttribute('d')?.includes('L') ?? false",
    )?;
    ensure!(page.browser.text(read)?.starts_with("now: "), "{}", page.browser.text(read)?);
    page.browser.press(Key::Left)?;
    let earlier = page.browser.text(read)?;
    ensure!(earlier.contains(" s ago: "), "{earlier}");
    Ok(earlier.replace('\u{a0}', " "))
}

fn pause(page: &Page) -> Result<String> {
    page.browser.run("document.getElementById('pause').focus()")?;
    page.browser.press(Key::Enter)?;
    let held = page.shown("updated")?;
    ensure!(held.ends_with(", paused"), "{held}");
    // The title is written with each message that comes, so it tells that some came and were not shown.
    page.browser.run("document.title = 'held'")?;
    page.wait("another message", 5, "return document.title !== 'held'")?;
    ensure!(page.shown("updated")? == held, "it went on to {}", page.shown("updated")?);
    page.browser.press(Key::Enter)?;
    let moves = format!("return document.getElementById('updated').innerText !== '{held}'");
    page.wait("figures after the pause", 3, &moves)?;
    Ok(String::new())
}

/// The same look finds the movement of those who did not ask for less, so it would find it here.
fn motion(page: &Page) -> Result<String> {
    let moving = "
        const moves = (text) => text.split(',').some((part) => parseFloat(part) > 0);
        const styles = [...document.querySelectorAll('*')].map((element) => getComputedStyle(element));
        const set = styles.filter((style) => moves(style.transitionDuration) || moves(style.animationDuration)).length;
        return set + document.getAnimations().length";
    page.look(1440, "light", "no-preference")?;
    let usual = page.browser.run(moving)?;
    ensure!(usual.as_u64() > Some(0), "nothing moves for anybody, so this proves nothing");
    page.look(1440, "light", "reduce")?;
    // What was under way when the wish came may end.
    let still = |what| page.wait(what, 2, &format!("return (() => {{ {moving} }})() === 0"));
    still("a still page")?;
    updates(page)?;
    let reduced = page.browser.run(moving)?;
    ensure!(reduced == 0, "{reduced} moving things after new figures");
    Ok(format!("{usual} without the wish"))
}
