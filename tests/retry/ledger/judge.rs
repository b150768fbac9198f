//! The judge: compares what callers were told with what the database holds. Pure; who collects either is in `load.rs`.

use std::collections::HashMap;

/// One transfer between two accounts, as it was meant and as it is written in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) id: i64,
    pub(crate) from: i32,
    pub(crate) to: i32,
    pub(crate) amount: i64,
}

/// What a caller knows in the end of a transfer that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The call said that it is done.
    Acknowledged,
    /// The call said that nothing of it is done.
    Failed,
    /// The call did not know, and the resolver said later that it committed.
    Committed,
    /// The call did not know, and the resolver said later that it did not commit.
    RolledBack,
    /// Nobody knows.
    Unknown,
}

/// One line of the log, which lies outside of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) transfer: Transfer,
    pub(crate) ending: Ending,
}

/// What the database holds after all is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) rows: Vec<Transfer>,
    /// By account, whose number is the place in this list.
    pub(crate) balances: Vec<i64>,
}

/// What does not agree, by the ids of the transfers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Said to be done, and not there.
    pub(crate) lost: Vec<i64>,
    /// There more than once.
    pub(crate) doubled: Vec<i64>,
    /// Said not to be done, and there.
    pub(crate) false_failures: Vec<i64>,
    /// The resolver said the contrary of what is there.
    pub(crate) wrong_resolutions: Vec<i64>,
    /// Nobody could say.
    pub(crate) unresolved: Vec<i64>,
    /// There, and not as anybody asked for it.
    pub(crate) strangers: Vec<i64>,
    /// The accounts whose balance is not what the ledger makes of the initial one.
    pub(crate) torn: Vec<usize>,
}

impl Verdict {
    /// Whether callers were told nothing but the truth, and everything.
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares them; every account began with `initial`.
pub(crate) fn judge(log: &[Entry], books: &Books, initial: i64) -> Verdict {
    let mut verdict = Verdict::default();
    let mut rows = HashMap::<i64, Vec<Transfer>>::new();
    let mut expected = vec![initial; books.balances.len()];
    for row in &books.rows {
        rows.entry(row.id).or_default().push(*row);
        for (account, change) in [(row.from, -row.amount), (row.to, row.amount)] {
            if let Some(balance) = usize::try_from(account).ok().and_then(|place| expected.get_mut(place)) {
                *balance += change;
            }
        }
    }
    for Entry { transfer, ending } in log {
        let there = rows.remove(&transfer.id).unwrap_or_default();
        let id = transfer.id;
        if there.len() > 1 {
            verdict.doubled.push(id);
        }
        if there.iter().any(|row| row != transfer) {
            verdict.strangers.push(id);
        }
        match (ending, there.is_empty()) {
            (Ending::Acknowledged, true) => verdict.lost.push(id),
            (Ending::Failed, false) => verdict.false_failures.push(id),
            (Ending::Committed, true) | (Ending::RolledBack, false) => verdict.wrong_resolutions.push(id),
            (Ending::Unknown, _) => verdict.unresolved.push(id),
            _ => {}
        }
    }
    verdict.strangers.extend(rows.into_keys());
    let accounts = expected.iter().zip(&books.balances).enumerate();
    verdict.torn =
        accounts.filter(|(_, (expected, found))| expected != found).map(|(place, _)| place).collect();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Transfer = Transfer { id: 7, from: 0, to: 1, amount: 5 };

    /// A transfer between two accounts with 100 each that ended so, and how often it is there.
    fn check(ending: Ending, times: usize, expect: &Verdict) {
        let moved = 5 * i64::try_from(times).expect("small");
        let books = Books { rows: vec![SEVEN; times], balances: vec![100 - moved, 100 + moved] };
        let log = [Entry { transfer: SEVEN, ending }];
        assert_eq!(judge(&log, &books, 100), *expect, "{ending:?}, {times} times");
    }

    /// D9: each way to be wrong is found, and being right is not.
    #[test]
    fn everything_that_does_not_agree_is_found() {
        let clean = Verdict::default;
        let ids = || vec![7];
        check(Ending::Acknowledged, 1, &clean());
        check(Ending::Acknowledged, 0, &Verdict { lost: ids(), ..clean() });
        check(Ending::Acknowledged, 2, &Verdict { doubled: ids(), ..clean() });
        check(Ending::Failed, 0, &clean());
        check(Ending::Failed, 1, &Verdict { false_failures: ids(), ..clean() });
        check(Ending::Committed, 1, &clean());
        check(Ending::Committed, 0, &Verdict { wrong_resolutions: ids(), ..clean() });
        check(Ending::Committed, 2, &Verdict { doubled: ids(), ..clean() });
        check(Ending::RolledBack, 0, &clean());
        check(Ending::RolledBack, 1, &Verdict { wrong_resolutions: ids(), ..clean() });
        check(Ending::Unknown, 0, &Verdict { unresolved: ids(), ..clean() });
        check(Ending::Unknown, 1, &Verdict { unresolved: ids(), ..clean() });
    }

    /// D9: half of a transfer, a balance without a row, a row that nobody meant.
    #[test]
    fn books_that_do_not_add_up_are_found() {
        let log = [Entry { transfer: SEVEN, ending: Ending::Acknowledged }];
        let check = |rows: &[Transfer], balances: &[i64], expect: &Verdict| {
            let books = Books { rows: rows.to_vec(), balances: balances.to_vec() };
            assert_eq!(judge(&log, &books, 100), *expect, "{books:?}");
        };
        let other = Transfer { amount: 6, ..SEVEN };
        let stranger = Transfer { id: 8, ..SEVEN };
        check(&[SEVEN], &[95, 105], &Verdict::default());
        check(&[SEVEN], &[95, 100], &Verdict { torn: vec![1], ..Verdict::default() });
        check(&[SEVEN], &[100, 100], &Verdict { torn: vec![0, 1], ..Verdict::default() });
        check(&[other], &[94, 106], &Verdict { strangers: vec![7], ..Verdict::default() });
        check(&[SEVEN, stranger], &[90, 110], &Verdict { strangers: vec![8], ..Verdict::default() });
    }
}
