//! The report as Markdown, for people.

use std::fmt::Write;

use crate::contestants::Name;
use crate::report::{Report, Standings, Waiting};
use crate::workload::Workload;

/// Every table, under a heading each, and at the end what was reached.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report).unwrap_or_default();
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let about = &report.about;
    let versions: Vec<_> = about.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(
        out,
        "{} run: {} rounds of {} ms ({} where not all take part), {} connections, {} rows, PostgreSQL {}, {} cores for client and server together.\n\
         {}.",
        about.plan,
        about.rounds,
        about.window_ms,
        about.rounds_of_few,
        about.connections,
        about.rows,
        about.postgresql,
        about.cores,
        versions.join(", "),
    )?;
    if !report.races.is_empty() {
        writeln!(
            out,
            "Between rounds, the throughput of the same contestant and workload differed by {:.0} % (median).",
            about.noise * 100.0
        )?;
    }
    writeln!(out)?;
    if let Some(distance) = &report.distance {
        writeln!(
            out,
            "A select on one connection took {:.0} µs, 1 ms away {:.0} µs, and there {:.0} µs with several on their way at \
             once.\n",
            distance.near, distance.far, distance.far_in_a_row
        )?;
    }
    if !report.races.is_empty() {
        write_summary(out, &report.races)?;
    }
    for standings in &report.races {
        write_standings(out, standings)?;
    }
    write_micro(out, report)?;
    write_waiting(out, &report.waiting)?;
    for verdict in &report.verdicts {
        writeln!(out, "{verdict}")?;
    }
    Ok(())
}

fn write_summary(out: &mut String, races: &[Standings]) -> std::fmt::Result {
    writeln!(out, "### Ours / best peer\n")?;
    writeln!(
        out,
        "| | throughput (quartiles) | best | p50 | p99 | best | p99.9 |\n|---|---|---|---|---|---|---|"
    )?;
    for race in races {
        let ratios = &race.ours_to_best;
        let (low, high) = ratios.throughput_quartiles;
        writeln!(
            out,
            "| {} | {:.2} ({low:.2}–{high:.2}) | {} | {} | {} | {} | {} |",
            race.title,
            ratios.throughput,
            race.best_throughput.package(),
            ratio(ratios.p50),
            ratio(ratios.p99),
            race.best_p99.map_or("none", Name::package),
            ratio(ratios.p999),
        )?;
    }
    writeln!(
        out,
        "\nThroughput is better above 1, latency below. A peer that left a task without a single answer does not count as the \
         best latency.\n"
    )
}

fn write_standings(out: &mut String, standings: &Standings) -> std::fmt::Result {
    writeln!(out, "### {}\n", sentence(&standings.title))?;
    writeln!(
        out,
        "| | per second | ours / it | p50 | p95 | p99 | ours / it | p99.9 | max | average | never served |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for standing in &standings.contestants {
        let (throughput, p99) = match standing.name {
            Name::Ours => (String::new(), String::new()),
            _ => {
                let ratios = &standing.ours_to_this;
                (ratio(ratios.throughput), ratio(ratios.p99))
            }
        };
        let [p50, p95, p99_9, max, average] =
            [standing.p50, standing.p95, standing.p999, standing.max, standing.average].map(time);
        writeln!(
            out,
            "| {} | {:.0} | {throughput} | {p50} | {p95} | {} | {p99} | {p99_9} | {max} | {average} | {:.0} |",
            standing.name.package(),
            standing.throughput,
            time(standing.p99),
            standing.never_served,
        )?;
    }
    let long: Vec<_> = standings.contestants.iter().filter(|standing| standing.pauses > 0.0).collect();
    if !long.is_empty() {
        let long = long.iter().map(|standing| format!("{} {:.0}", standing.name.package(), standing.pauses));
        writeln!(out, "\nLong statements per second: {}.", long.collect::<Vec<_>>().join(", "))?;
    }
    writeln!(out)
}

fn write_micro(out: &mut String, report: &Report) -> std::fmt::Result {
    if !report.acquire.is_empty() {
        writeln!(out, "### Acquire and release alone\n\n| | median | ours / it |\n|---|---|---|")?;
    }
    let ours = report.acquire.iter().find(|acquire| acquire.name == Name::Ours);
    for acquire in &report.acquire {
        let ratio = match (acquire.name, ours) {
            (Name::Ours, _) | (_, None) => String::new(),
            (_, Some(ours)) => format!("{:.2}", ours.nanos / acquire.nanos),
        };
        writeln!(out, "| {} | {:.0} ns | {ratio} |", acquire.name.package(), acquire.nanos)?;
    }
    if let Some(observing) = &report.observing {
        let (low, high) = observing.quartiles;
        writeln!(
            out,
            "\n### Cost of observing\n\n| | selects per second, 64 tasks |\n|---|---|\n| an observer that does nothing \
             | {:.0} |\n| an observer that counts every event | {:.0} |\n| the second / the first, median and quartiles of \
             pairs | {:.3} ({low:.3}–{high:.3}) |\n",
            observing.without, observing.with, observing.ratio
        )?;
    }
    if report.allocations.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Allocations of one operation\n\n| | select | bytes | transaction | bytes |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for name in Name::POOLS {
        let of = |workload| {
            let mut all = report.allocations.iter();
            let found = all.find(|one| one.name == name && one.workload == workload);
            found.map_or((f64::NAN, f64::NAN), |one| (one.count, one.bytes))
        };
        let ((select, bytes), (transaction, more)) = (of(Workload::Select), of(Workload::Transaction));
        writeln!(out, "| {} | {select:.1} | {bytes:.0} | {transaction:.1} | {more:.0} |", name.package())?;
    }
    Ok(())
}

fn write_waiting(out: &mut String, waiting: &[Waiting]) -> std::fmt::Result {
    let Some(Waiting { tasks, .. }) = waiting.first() else { return Ok(()) };
    writeln!(out, "\n### Memory of {tasks} waiting tasks\n")?;
    writeln!(out, "| | bytes for each | allocations for each | sessions with a waiting statement |")?;
    writeln!(out, "|---|---|---|---|")?;
    for Waiting { name, sessions, bytes, count, .. } in waiting {
        writeln!(out, "| {} | {bytes:.0} | {count:.1} | {sessions} |", name.package())?;
    }
    writeln!(out)
}

/// Nothing for a figure that a contestant does not tell.
fn ratio(ratio: f64) -> String {
    if ratio.is_nan() { String::new() } else { format!("{ratio:.2}") }
}

/// Microseconds in a unit that fits.
fn time(micros: f64) -> String {
    match micros {
        _ if micros.is_nan() => String::new(),
        0.0..1_000.0 => format!("{micros:.0} µs"),
        1_000.0..100_000.0 => format!("{:.1} ms", micros / 1_000.0),
        100_000.0..1_000_000.0 => format!("{:.0} ms", micros / 1_000.0),
        _ => format!("{:.2} s", micros / 1_000_000.0),
    }
}

fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_fits() {
        let check = |micros: f64, expect: &str| assert_eq!(time(micros), expect);
        check(f64::NAN, "");
        check(49.6, "50 µs");
        check(1_234.0, "1.2 ms");
        check(250_400.0, "250 ms");
        check(5_020_000.0, "5.02 s");
    }
}
