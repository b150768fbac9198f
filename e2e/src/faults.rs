//! What the page shows when something breaks, and how soon: PostgreSQL that says nothing, PostgreSQL that is stopped, a
//! service that is gone, a service that says nothing; and that it comes back by itself each time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::page::Page;
use crate::report::Report;
use crate::service::{Place, Service};
use crate::wait::wait_for;

/// How soon the page must show what the probes know.
const SOON: Duration = Duration::from_secs(2);

/// Gives back the service that runs at the end, on the same address as before.
pub(crate) fn check(page: &Page, place: &Place, service: Service, report: &mut Report) -> Result<Service> {
    page.look(1440, "light", "no-preference")?;
    report.check("PostgreSQL says nothing: shown within 2 s of the probe", || {
        service.signal_postgres(Signal::SIGSTOP)?;
        follows(page, &service, 503, "unhealthy")
    });
    report.check("it names the component", || {
        let text = page.shown("overall-text")?;
        ensure!(text.contains("postgres"), "{text}");
        let node = page.shown("components")?;
        ensure!(node.contains("unhealthy"), "{node}");
        Ok(text)
    });
    report.check("fault: both widths, both themes", || page.inspect("fault"));
    report.check("PostgreSQL answers again: shown within 2 s of the probe", || {
        service.signal_postgres(Signal::SIGCONT)?;
        follows(page, &service, 200, "healthy")
    });
    report.check("PostgreSQL crashes: well again by itself", || {
        let before = service.postmaster()?;
        service.signal_postmaster(Signal::SIGKILL)?;
        let limit = Duration::from_secs(60);
        let another = || Ok(service.postmaster().is_ok_and(|now| now != before).then_some(()));
        wait_for("another PostgreSQL", limit, another)?;
        follows(page, &service, 200, "healthy")
    });
    report.check("PostgreSQL is stopped: shown within 2 s of the probe", || {
        service.signal_postmaster(Signal::SIGINT)?;
        follows(page, &service, 503, "unhealthy")
    });
    report.check("nothing but figures came in all that", || {
        let said = page.browser.console()?;
        ensure!(said.is_empty(), "{said:?}");
        Ok(String::new())
    });

    let address = service.address();
    report.check("the service ends: the page says that it is alone", || {
        service.end()?;
        let took = is_lost(page)?;
        Ok(format!("{} ms, {}", took.as_millis(), page.shown("lost-text")?))
    });
    report.check("lost: both widths, both themes", || page.inspect("lost"));
    let service = Service::start_on(place, address).context("the second start")?;
    report.check("the service is back: so is the page, without a reload", || is_back(page));

    report.check("the service says nothing: the page notices", || {
        service.signal(Signal::SIGSTOP)?;
        let took = is_lost(page);
        service.signal(Signal::SIGCONT)?;
        Ok(format!("{} ms", took?.as_millis()))
    });
    report.check("the service goes on: so does the page", || is_back(page));
    // Said by the browser about connections that were refused, as they had to be.
    page.browser.console()?;
    Ok(service)
}

/// Waits until the probe says `ready`, then until the page does.
fn follows(page: &Page, service: &Service, ready: u16, status: &str) -> Result<String> {
    let limit = Duration::from_secs(60);
    let known = || Ok((service.ready() == Some(ready)).then(Instant::now));
    let (known, took) = wait_for(format!("/health/ready to be {ready}"), limit, known)?;
    page.wait_for_status(status, 10)?;
    let delay = known.elapsed();
    ensure!(delay <= SOON, "shown {} ms after the probe", delay.as_millis());
    Ok(format!("probe after {:.1} s, page {} ms later", took.as_secs_f64(), delay.as_millis()))
}

fn is_lost(page: &Page) -> Result<Duration> {
    let script =
        "return !document.getElementById('lost').hidden && document.body.classList.contains('stale')";
    let took = page.wait("the page to say that the connection is lost", 15, script)?;
    page.wait_for_status("unknown", 1)?;
    Ok(took)
}

fn is_back(page: &Page) -> Result<String> {
    let took = page.wait_for_status("healthy", 30)?;
    let script =
        "return document.getElementById('lost').hidden && !document.body.classList.contains('stale')";
    page.wait("the page to be live again", 2, script)?;
    Ok(format!("{} ms", took.as_millis()))
}
