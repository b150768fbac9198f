//! How old the server's version is, by the published ends of support. Pure.

use super::finding::Finding;

/// The oldest major version that this layer works with.
const OLDEST: u32 = 13;

/// Major versions with the end of their support, in seconds of the epoch.
const ENDS: [(u32, i64); 6] = [
    (13, 1_762_992_000),
    (14, 1_794_441_600),
    (15, 1_825_891_200),
    (16, 1_857_340_800),
    (17, 1_888_790_400),
    (18, 1_920_844_800),
];

/// Judges a version such as `15.18 (Debian 15.18-0+deb12u1)` at a moment in seconds of the epoch.
pub(super) fn judge(version: &str, now: i64) -> Finding {
    let check = "server";
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let Ok(major) = digits.parse::<u32>() else {
        return Finding::ok(check, format!("PostgreSQL {version}"));
    };
    let has_ended = ENDS.iter().any(|(of, end)| *of == major && now >= *end);
    let note = format!("PostgreSQL {version}");
    let fix = "move to a newer major version (pg_upgrade, or a dump)";
    if major < OLDEST {
        Finding::problem(
            check,
            format!("{note}, older than {OLDEST}, the oldest that is supported here"),
            fix,
        )
    } else if has_ended {
        Finding::advice(check, format!("{note}, which gets no more fixes"), fix)
    } else {
        Finding::ok(check, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    #[test]
    fn versions_age() {
        let check = |version, now, expect| assert_eq!(judge(version, now).grade, expect, "{version}");
        let (in_2026, in_2028) = (1_769_000_000, 1_831_000_000);
        check("12.22", in_2026, Grade::Problem);
        check("9.6.24", in_2026, Grade::Problem);
        check("13.23", in_2026, Grade::Advice);
        check("15.18 (Debian 15.18-0+deb12u1)", in_2026, Grade::Ok);
        check("15.18 (Debian 15.18-0+deb12u1)", in_2028, Grade::Advice);
        check("19beta1", in_2028, Grade::Ok);
        check("devel", in_2028, Grade::Ok);
    }
}
