//! A place in the write-ahead log, as the server writes it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A place in the write-ahead log: a number of bytes since its beginning, written as `16/B374D848`. Places of different
/// timelines cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

/// The text is no place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in the write-ahead log, which looks like 16/B374D848")]
pub struct InvalidLsn;

impl Lsn {
    /// The place so many bytes from the beginning.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes since the beginning.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The end of the last record, for a place where the next one would begin: behind the header of a page that has nothing else
    /// yet. No standby reaches that place before something is written.
    pub(crate) fn without_header(self, segment_size: u64) -> Self {
        const PAGE: u64 = 8_192;
        const HEADER: u64 = 24;
        const FIRST_HEADER: u64 = 40;
        let page = self.0 - self.0 % PAGE;
        let header = if page.is_multiple_of(segment_size.max(PAGE)) { FIRST_HEADER } else { HEADER };
        if self.0 - page == header { Self(page) } else { self }
    }

    /// How many bytes lie between an earlier place and this one; none when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let half = |text: &str| {
            let is_hex = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(InvalidLsn)
        };
        let (high, low) = text.split_once('/').ok_or(InvalidLsn)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_written_as_the_server_does() {
        let check = |text: &str, bytes: u64| {
            let lsn: Lsn = text.parse().expect(text);
            assert_eq!((lsn.bytes(), lsn.to_string()), (bytes, text.to_owned()));
        };
        check("0/0", 0);
        check("16/B374D848", 0x16_B374_D848);
        check("FFFFFFFF/FFFFFFFF", u64::MAX);
        for wrong in ["", "0", "/", "0/", "G/0", "0/123456789", "+1/0", "0/0/0", " 0/0"] {
            assert_eq!(wrong.parse::<Lsn>(), Err(InvalidLsn), "{wrong}");
        }
        const SEGMENT: u64 = 16 << 20;
        let end = |bytes: u64| Lsn::new(bytes).without_header(SEGMENT).bytes();
        assert_eq!((end(0x500_0028), end(0x500_0018), end(0x500_2018)), (0x500_0000, 0x500_0018, 0x500_2000));
        assert_eq!((end(0x500_2028), end(0x500_2020), end(0x500_2000)), (0x500_2028, 0x500_2020, 0x500_2000));
        assert_eq!(Lsn::new(10).since(Lsn::new(4)), 6);
        assert_eq!(Lsn::new(4).since(Lsn::new(10)), 0);
    }
}
