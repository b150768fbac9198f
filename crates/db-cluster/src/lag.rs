//! How far a standby is behind, by where its primary was when: in bytes and in time, by our own clock. Those of the servers count
//! for what was written before the first look only. Pure; the moments are passed in.
//!
//! The age of the last replayed transaction alone grows while nobody writes, and what the standby has received alone says
//! nothing once its stream is cut. Here a standby that has all of an idle primary is not behind, and one whose stream was cut
//! is behind from the next write on.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::Lsn;

/// How far a standby is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lag {
    /// Bytes of the write-ahead log that it has yet to replay.
    pub bytes: u64,
    /// For how long at least the primary has had what the standby lacks; in JSON `ms`, whole milliseconds. As fine as the pause
    /// between two looks.
    #[serde(rename = "ms", serialize_with = "as_millis")]
    pub time: Duration,
}

/// Where a primary was when.
#[derive(Debug, Default)]
pub(crate) struct Track {
    /// Oldest first, places rising.
    places: VecDeque<Place>,
}

/// What a primary had written in a span of time.
#[derive(Clone, Copy, Debug)]
struct Place {
    lsn: Lsn,
    first: Instant,
    last: Instant,
}

/// Bytes that may have been written between a look at the standby and one at the primary. After an idle hour the last
/// transaction of a standby that lacks so little is old, and yet the standby is not.
const A_MOMENT: u64 = 64 << 10;

/// More than an hour of looks twice a second of which each finds something new.
const LONGEST: usize = 8_192;

impl Track {
    /// A look at the primary.
    pub(crate) fn record(&mut self, lsn: Lsn, at: Instant) {
        if self.places.back().is_some_and(|newest| newest.lsn > lsn) {
            // Another history: what was is no measure of it.
            self.places.clear();
        }
        match self.places.back_mut() {
            Some(place) if place.lsn == lsn => place.last = place.last.max(at),
            _ => self.places.push_back(Place { lsn, first: at, last: at }),
        }
        if self.places.len() > LONGEST {
            self.places.pop_front();
        }
    }

    /// How far a standby was behind at a moment; none when the primary was never seen. `age` is that of its last replayed
    /// transaction, which counts when the standby lacks more than a moment's writes from before the first look.
    pub(crate) fn lag(&self, replayed: Lsn, age: Option<Duration>, at: Instant) -> Option<Lag> {
        let newest = self.places.back()?;
        let missing = self.places.partition_point(|place| place.lsn <= replayed);
        let bytes = newest.lsn.since(replayed);
        let time = match self.places.get(missing) {
            None => Duration::ZERO,
            Some(place) => {
                let seen = at.saturating_duration_since(place.first);
                if missing == 0 && bytes > A_MOMENT { seen.max(age.unwrap_or_default()) } else { seen }
            }
        };
        Some(Lag { bytes, time })
    }

    /// The last moment at which the primary had no more than the standby has now; none when it is not known.
    pub(crate) fn had_all_at(&self, replayed: Lsn) -> Option<Instant> {
        let missing = self.places.partition_point(|place| place.lsn <= replayed);
        missing.checked_sub(1).and_then(|index| self.places.get(index)).map(|place| place.last)
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lag(track: &Track, replayed: u64, age: Option<Duration>, at: Instant) -> (u64, Duration) {
        let lag = track.lag(Lsn::new(replayed), age, at).expect("a primary");
        (lag.bytes, lag.time)
    }

    #[test]
    fn it_is_measured_by_where_the_primary_was() {
        let start = Instant::now();
        let at = |seconds: u32| start + SECOND * seconds;
        let mut track = Track::default();
        assert_eq!(track.lag(Lsn::new(1), None, start), None);
        // Idle for three seconds, then writing.
        for second in 0..4 {
            track.record(Lsn::new(100), at(second));
        }
        assert_eq!(lag(&track, 100, Some(SECOND * 3_600), at(3)), (0, Duration::ZERO));
        track.record(Lsn::new(200), at(4));
        track.record(Lsn::new(300), at(5));
        // It lacks what was there at the fourth second.
        assert_eq!(lag(&track, 100, None, at(10)), (200, SECOND * 6));
        assert_eq!(lag(&track, 199, None, at(10)), (101, SECOND * 6));
        assert_eq!(lag(&track, 200, None, at(10)), (100, SECOND * 5));
        assert_eq!(lag(&track, 300, None, at(10)), (0, Duration::ZERO));
        // Seen a moment after the primary, it has more.
        assert_eq!(lag(&track, 301, None, at(10)), (0, Duration::ZERO));
        // From before the first look, its own clock knows, unless it lacks next to nothing.
        assert_eq!(lag(&track, 50, Some(SECOND * 60), at(10)), (250, SECOND * 10));
        assert_eq!(lag(&track, 50, None, at(10)), (250, SECOND * 10));
        track.record(Lsn::new(1_000_000), at(10));
        assert_eq!(lag(&track, 50, Some(SECOND * 60), at(10)), (999_950, SECOND * 60));
        assert_eq!(lag(&track, 250, Some(SECOND * 60), at(10)), (999_750, SECOND * 5));

        assert_eq!(track.had_all_at(Lsn::new(50)), None);
        assert_eq!(track.had_all_at(Lsn::new(100)), Some(at(3)));
        assert_eq!(track.had_all_at(Lsn::new(250)), Some(at(4)));
        assert_eq!(track.had_all_at(Lsn::new(999)), Some(at(5)));
        // A place before the last one is one of another history.
        track.record(Lsn::new(40), at(11));
        assert_eq!(lag(&track, 40, None, at(12)), (0, Duration::ZERO));
    }

    #[test]
    fn it_stays_small() {
        let start = Instant::now();
        let mut track = Track::default();
        for step in 0..20_000_u32 {
            track.record(Lsn::new(step.into()), start + SECOND * step);
        }
        assert_eq!(track.places.len(), LONGEST);
    }
}
