//! Which of several replicas takes a read: of two at random the one with less to do. Pure but for the dice, which are passed
//! in.
//!
//! Two random choices and not the best of all: everybody would run to the best at once. Fewer reads in flight count first; they
//! react within one read, and hold back whoever is slow. Latency decides only between replicas that are clearly different,
//! since a small difference is chance and would send everything to one of two equals.

use std::time::Duration;

use fastrand::Rng;

/// A replica that could take a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) index: usize,
    /// Reads that it has now.
    pub(crate) in_flight: usize,
    /// How long a read takes, on average; none before the first.
    pub(crate) latency: Option<Duration>,
    /// From 0 to 1: how much of its share it may take, which is less for a while after it came back.
    pub(crate) share: f64,
}

/// Latencies count as equal unless one is so many times the other.
const CLEARLY: u32 = 4;

/// How seldom the one that seems slower is tried all the same, so that it can show that it no longer is: once in so many.
const RETRIAL: u32 = 16;

/// Picks one; none when there is none.
pub(crate) fn pick(candidates: &[Candidate], rng: &mut Rng) -> Option<usize> {
    let chosen = match candidates {
        [] => return None,
        [one] => one,
        _ => {
            let first = rng.usize(..candidates.len());
            let second = (first + rng.usize(1..candidates.len())) % candidates.len();
            better(&candidates[first], &candidates[second], rng)
        }
    };
    Some(chosen.index)
}

fn better<'a>(a: &'a Candidate, b: &'a Candidate, rng: &mut Rng) -> &'a Candidate {
    if a.share < b.share {
        return better(b, a, rng);
    }
    // One that has just come back takes its share of the rounds that it could win.
    if b.share < a.share && rng.f64() > b.share {
        return a;
    }
    if a.in_flight != b.in_flight {
        return if a.in_flight < b.in_flight { a } else { b };
    }
    let is_slower = |one: &Candidate, other: &Candidate| {
        one.latency.zip(other.latency).is_some_and(|(one, other)| one > other * CLEARLY)
    };
    let prefers_a = if is_slower(a, b) {
        rng.u32(..RETRIAL) == 0
    } else if is_slower(b, a) {
        rng.u32(..RETRIAL) != 0
    } else {
        rng.bool()
    };
    if prefers_a { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: usize) -> Candidate {
        Candidate { index, in_flight: 0, latency: Some(Duration::from_millis(1)), share: 1.0 }
    }

    /// How many of 10,000 each gets.
    fn shares(candidates: &[Candidate]) -> Vec<u32> {
        let mut rng = Rng::with_seed(7);
        let mut shares = vec![0; candidates.len()];
        for _ in 0..10_000 {
            shares[pick(candidates, &mut rng).expect("one")] += 1;
        }
        shares
    }

    #[test]
    fn equals_get_the_same() {
        for count in 2..6 {
            let candidates: Vec<_> = (0..count).map(candidate).collect();
            let even = 10_000.0 / f64::from(u32::try_from(count).expect("few"));
            let all = shares(&candidates);
            assert!(all.iter().all(|share| (f64::from(*share) - even).abs() < even * 0.1), "{all:?}");
        }
    }

    #[test]
    fn whoever_has_more_to_do_gets_less() {
        let busy = Candidate { in_flight: 1, latency: Some(Duration::ZERO), ..candidate(1) };
        assert_eq!(shares(&[candidate(0), busy]), [10_000, 0]);
        let slow = Candidate { latency: Some(Duration::from_millis(10)), ..candidate(1) };
        let all = shares(&[candidate(0), slow]);
        assert!((450..850).contains(&all[1]), "it is tried again now and then: {all:?}");
        let hardly = Candidate { latency: Some(Duration::from_micros(1_900)), ..candidate(1) };
        let all = shares(&[candidate(0), hardly]);
        assert!(all[1] > 4_500, "that is chance: {all:?}");
        let unknown = Candidate { latency: None, ..candidate(1) };
        assert!(shares(&[candidate(0), unknown])[1] > 4_500);
    }

    #[test]
    fn whoever_came_back_begins_slowly() {
        let back = Candidate { share: 0.1, ..candidate(1) };
        for order in [[candidate(0), back], [back, candidate(0)]] {
            let mut rng = Rng::with_seed(7);
            let picked = (0..10_000).filter(|_| pick(&order, &mut rng) == Some(1)).count();
            assert!((300..700).contains(&picked), "{picked}");
        }
        // Nobody else is there.
        assert_eq!(shares(&[Candidate { share: 0.0, ..candidate(0) }]), [10_000]);
        assert_eq!(pick(&[], &mut Rng::new()), None);
    }
}
