//! Points in time, as Postrider stores and compares them.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    SignedDuration,
    civil::{DateTime, date},
    fmt::temporal::Pieces,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 9999-12-31T23:59:59.999Z: the last moment that RFC 3339 can write.
pub(super) const LAST: i64 = 253_402_300_799_999;
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// A point in time: whole milliseconds since the Unix epoch, UTC.
///
/// Milliseconds are what both queue adapters store and compare, so that a moment never changes by
/// being written and read back. The text form is RFC 3339 with three decimals and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

impl Moment {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The moment this long after; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_millis(span)))
    }

    /// The moment this long before; saturates instead of wrapping.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_millis(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn span_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) if (0..=LAST).contains(&self.0) => {
                let at = EPOCH.saturating_add(SignedDuration::from_millis(self.0));
                write!(f, "{at:.3}Z")
            }
            // Outside the years -9999 to 9999 there is no RFC 3339 form; the number is still honest.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at.as_millisecond()),
            Err(_) => at_the_end(text),
        };
        read.map(Self).ok_or_else(|| {
            format!("expected an RFC 3339 time such as 2026-06-10T09:00:00Z, got {text:?}")
        })
    }
}

/// A time of the last day of the year 9999, which people write for "for ever": a `Timestamp` ends before, so
/// that it can be seen from any place on earth.
fn at_the_end(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let at = pieces.date().to_datetime(pieces.time()?);
    let millis = i64::try_from(at.duration_since(EPOCH).as_millis()).ok()?;
    let millis = millis - i64::from(pieces.to_numeric_offset()?.seconds()) * 1_000;
    (jiff::Timestamp::MAX.as_millisecond()..=LAST).contains(&millis).then_some(millis)
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339_and_read_back() {
        let at = Moment::from_millis(1_781_082_000_123);
        assert_eq!(at.to_string(), "2026-06-10T09:00:00.123Z");
        assert_eq!("2026-06-10T11:00:00.123+02:00".parse::<Moment>(), Ok(at));
    }

    #[test]
    fn the_last_day_of_all_is_read_and_written() {
        let cases = [
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z", LAST - 999),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z", LAST),
            ("9999-12-31T23:59:59+14:00", "9999-12-31T09:59:59.000Z", LAST - 999 - 14 * 3_600_000),
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00.000Z", LAST - 93_599_999),
            ("9999-12-30T22:00:01Z", "9999-12-30T22:00:01.000Z", LAST - 93_598_999),
        ];
        for (text, written, millis) in cases {
            let at: Moment = text.parse().unwrap();
            assert_eq!((at.millis(), at.to_string()), (millis, written.to_owned()), "{text}");
            assert_eq!(written.parse(), Ok(at));
        }
        for none in ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59", "9999-12-31", "for ever"] {
            assert!(none.parse::<Moment>().is_err(), "{none}");
        }
        assert_eq!(Moment::from_millis(LAST + 1).to_string(), "253402300800000ms");
    }

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(Moment::from_millis(5).since(Moment::from_millis(9)), Duration::ZERO);
        assert_eq!(
            Moment::from_millis(i64::MAX).plus(Duration::MAX),
            Moment::from_millis(i64::MAX)
        );
    }
}
