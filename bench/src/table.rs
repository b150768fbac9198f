//! The report as Markdown, for people.

use std::fmt::Write;

use crate::contestants::Name;
use crate::report::{Report, Standings};
use crate::workload::Workload;

/// Every table, under a heading each.
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
        "{} run: {} rounds of {} ms, {} connections, {} rows, PostgreSQL {}, {} cores for client and server together.\n\
         {}.\n\
         Between rounds, the throughput of the same contestant and workload differed by {:.0} % (median).\n",
        about.plan,
        about.rounds,
        about.window_ms,
        about.connections,
        about.rows,
        about.postgresql,
        about.cores,
        versions.join(", "),
        about.noise * 100.0,
    )?;
    write_summary(out, &report.races)?;
    for standings in &report.races {
        write_standings(out, standings)?;
    }
    write_micro(out, report)
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
            "| {} | {:.2} ({low:.2}–{high:.2}) | {} | {:.2} | {:.2} | {} | {:.2} |",
            race.title(),
            ratios.throughput,
            race.best_throughput.package(),
            ratios.p50,
            ratios.p99,
            race.best_p99.map_or("none", Name::package),
            ratios.p999,
        )?;
    }
    writeln!(
        out,
        "\nThroughput is better above 1, latency below. A peer that left a task without a single answer does not count as the \
         best latency.\n"
    )
}

fn write_standings(out: &mut String, standings: &Standings) -> std::fmt::Result {
    writeln!(out, "### {}\n", sentence(&standings.title()))?;
    writeln!(out, "| | per second | ours / it | p50 | p95 | p99 | ours / it | p99.9 | max | never served |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for standing in &standings.contestants {
        let (throughput, p99) = match standing.name {
            Name::Ours => (String::new(), String::new()),
            _ => {
                let ratios = &standing.ours_to_this;
                (format!("{:.2}", ratios.throughput), format!("{:.2}", ratios.p99))
            }
        };
        let [p50, p95, p99_9, max] = [standing.p50, standing.p95, standing.p999, standing.max].map(time);
        writeln!(
            out,
            "| {} | {:.0} | {throughput} | {p50} | {p95} | {} | {p99} | {p99_9} | {max} | {:.0} |",
            standing.name.package(),
            standing.throughput,
            time(standing.p99),
            standing.never_served,
        )?;
    }
    writeln!(out)
}

fn write_micro(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "### Acquire and release alone\n\n| | median | ours / it |\n|---|---|---|")?;
    let ours = report.acquire.iter().find(|acquire| acquire.name == Name::Ours);
    for acquire in &report.acquire {
        let ratio = match (acquire.name, ours) {
            (Name::Ours, _) | (_, None) => String::new(),
            (_, Some(ours)) => format!("{:.2}", ours.nanos / acquire.nanos),
        };
        writeln!(out, "| {} | {:.0} ns | {ratio} |", acquire.name.package(), acquire.nanos)?;
    }
    let observing = &report.observing;
    let (low, high) = observing.quartiles;
    writeln!(
        out,
        "\n### Cost of observing\n\n| | selects per second, 64 tasks |\n|---|---|\n| an observer that does nothing \
         | {:.0} |\n| an observer that counts every event | {:.0} |\n| the second / the first, median and quartiles of pairs \
         | {:.3} ({low:.3}–{high:.3}) |\n",
        observing.without, observing.with, observing.ratio
    )?;
    writeln!(out, "### Allocations of one operation\n\n| | select | bytes | transaction | bytes |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for name in Name::ALL {
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

/// Microseconds in a unit that fits.
fn time(micros: f64) -> String {
    match micros {
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
        check(49.6, "50 µs");
        check(1_234.0, "1.2 ms");
        check(250_400.0, "250 ms");
        check(5_020_000.0, "5.02 s");
    }
}
