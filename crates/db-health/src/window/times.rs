//! How long statements took: a count for each eighth of a power of two of microseconds.

use std::time::Duration;

/// Below 1 µs, up to 2, ... 8 µs, then eight for each doubling; the last holds everything from about 63 s on.
const BINS: usize = 192;

/// Counts by duration, and their sum.
#[derive(Clone, Debug)]
pub(super) struct Times {
    count: u64,
    nanos: u64,
    bins: [u32; BINS],
}

impl Default for Times {
    fn default() -> Self {
        Self { count: 0, nanos: 0, bins: [0; BINS] }
    }
}

impl Times {
    pub(super) fn record(&mut self, time: Duration) {
        self.count += 1;
        self.nanos = self.nanos.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bin = &mut self.bins[bin(micros)];
        *bin = bin.saturating_add(1);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.nanos = self.nanos.saturating_add(other.nanos);
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin = bin.saturating_add(*more);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The mean; zero without any.
    pub(super) fn average(&self) -> Duration {
        Duration::from_nanos(self.nanos.checked_div(self.count).unwrap_or(0))
    }

    /// So many per cent took no longer than this. The upper border of a bin: at most an eighth, or 1 µs, above the true value.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let reaches = |of_bin: &u32| {
            seen += u64::from(*of_bin);
            seen >= rank
        };
        if self.count == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(border(self.bins.iter().position(reaches).unwrap_or(BINS - 1)))
    }
}

fn bin(micros: u64) -> usize {
    if micros < 8 {
        return micros as usize;
    }
    let doublings = (u64::BITS - 1 - micros.leading_zeros()) as usize;
    let eighth = (micros >> (doublings - 3)) as usize & 7;
    ((doublings - 2) * 8 + eighth).min(BINS - 1)
}

/// The upper border of a bin, in microseconds.
fn border(bin: usize) -> u64 {
    if bin < 8 {
        return bin as u64 + 1;
    }
    (9 + bin as u64 % 8) << (bin / 8 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_is_at_most_an_eighth_above() {
        for micros in (0..10_000).chain((10_000..60_000_000).step_by(9_973)) {
            let border = border(bin(micros));
            assert!(border > micros, "{micros}: {border}");
            assert!(border <= (micros + micros / 8).max(micros + 1), "{micros}: {border}");
        }
        assert_eq!(bin(u64::MAX), BINS - 1);
    }

    #[test]
    fn figures() {
        let check = |micros: &[u64], expect: (u64, u64, u64)| {
            let (mut times, mut more) = (Times::default(), Times::default());
            let half = micros.len() / 2;
            micros[..half].iter().for_each(|time| times.record(Duration::from_micros(*time)));
            micros[half..].iter().for_each(|time| more.record(Duration::from_micros(*time)));
            times.add(&more);
            let percentile = |percent| times.percentile(percent).as_micros() as u64;
            let average = times.average().as_micros() as u64;
            assert_eq!((average, percentile(50), percentile(99)), expect, "{micros:?}");
        };
        check(&[], (0, 0, 0));
        check(&[3], (3, 4, 4));
        check(&[1, 2, 3, 1_000], (251, 3, 1_024));
        let mut many = vec![100; 99];
        many.push(1_000_000);
        check(&many, (10_099, 104, 104));
        many.push(1_000_000);
        check(&many, (19_900, 104, 1_048_576));
    }
}
