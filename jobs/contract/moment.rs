//! Points in time, as Postrider stores and compares them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
        let at: jiff::Timestamp = text.parse().map_err(|_| {
            format!("expected an RFC 3339 time such as 2026-06-10T09:00:00Z, got {text:?}")
        })?;
        Ok(Self(at.as_millisecond()))
    }
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
    fn saturates_at_both_ends() {
        assert_eq!(Moment::from_millis(5).since(Moment::from_millis(9)), Duration::ZERO);
        assert_eq!(
            Moment::from_millis(i64::MAX).plus(Duration::MAX),
            Moment::from_millis(i64::MAX)
        );
    }
}
