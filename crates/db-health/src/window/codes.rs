//! Errors by code, as many codes as a person can read. Functions may raise any code that they like: what is kept is bounded.

use db_core::{Error, Phase, SqlState};

use super::figures::ErrorCount;

/// The most codes that are told apart, in one second as in all together.
const MOST: usize = 32;

/// How many are shown.
const SHOWN: usize = 10;

/// What stands for an error: the server's code, or the phase of the call for errors that are not the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Server(SqlState),
    Phase(&'static str),
}

impl Code {
    pub(super) fn of(error: &Error) -> Self {
        let phase = || match error.phase() {
            Phase::Acquire => "acquire",
            Phase::Connect => "connect",
            Phase::Execute => "execute",
            Phase::Commit => "commit",
            _ => "unknown",
        };
        error.sqlstate().map_or_else(|| Self::Phase(phase()), Self::Server)
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Server(state) => state.as_str(),
            Self::Phase(phase) => phase,
        }
    }
}

/// How often each code was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes {
    counts: Vec<(Code, u64)>,
    /// Codes for which there was no room.
    others: u64,
}

impl Codes {
    pub(super) fn add(&mut self, code: Code, count: u64) {
        if let Some((_, known)) = self.counts.iter_mut().find(|(known, _)| *known == code) {
            *known += count;
        } else if self.counts.len() < MOST {
            self.counts.push((code, count));
        } else {
            self.others += count;
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (code, count) in &other.counts {
            self.add(*code, *count);
        }
        self.others += other.others;
    }

    /// Most first; what does not fit is `other`, at the end.
    pub(super) fn ranking(mut self) -> Vec<ErrorCount> {
        self.counts.sort_by(|(a, a_count), (b, b_count)| {
            b_count.cmp(a_count).then_with(|| a.as_str().cmp(b.as_str()))
        });
        let fits = self.others == 0 && self.counts.len() <= SHOWN;
        let apart = if fits { SHOWN } else { SHOWN - 1 }.min(self.counts.len());
        let (first, rest) = self.counts.split_at(apart);
        let others = self.others + rest.iter().map(|(_, count)| count).sum::<u64>();
        let named = first.iter().map(|(code, count)| ErrorCount::new(code.as_str(), *count));
        named.chain((others > 0).then(|| ErrorCount::new("other", others))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: usize) -> Code {
        Code::Server(SqlState::new(&format!("U{number:04}")).expect("a code"))
    }

    fn ranking(codes: Codes) -> Vec<(String, u64)> {
        codes.ranking().into_iter().map(|error| (error.code, error.count)).collect()
    }

    #[test]
    fn most_come_first() {
        let mut codes = Codes::default();
        assert_eq!(ranking(codes.clone()), []);
        for code in [server(2), Code::Phase("acquire"), server(1), Code::Phase("acquire")] {
            codes.add(code, 1);
        }
        let expect = [("acquire", 2), ("U0001", 1), ("U0002", 1)];
        assert_eq!(ranking(codes), expect.map(|(code, count)| (code.to_owned(), count)));
    }

    #[test]
    fn the_number_of_codes_is_bounded() {
        let check = |distinct: usize, entries: usize, other: u64| {
            let mut codes = Codes::default();
            (0..distinct).for_each(|number| codes.add(server(number), if number == 5 { 3 } else { 1 }));
            let mut twice = codes.clone();
            twice.add_all(&codes);
            assert!(twice.counts.len() <= MOST);
            let shown = ranking(twice);
            assert_eq!((shown.len(), &shown[0]), (entries, &("U0005".to_owned(), 6)), "{distinct} codes");
            let last = shown.last().expect("codes");
            assert_eq!(if last.0 == "other" { last.1 } else { 0 }, other, "{distinct} codes");
            let all: u64 = shown.iter().map(|(_, count)| count).sum();
            assert_eq!(all, 2 * (distinct as u64 + 2), "none is lost");
        };
        check(6, 6, 0);
        check(10, 10, 0);
        check(11, 10, 4);
        check(10_000, 10, 2 * (10_000 - 9));
    }
}
