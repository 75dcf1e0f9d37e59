//! The host's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use jobs::contract::{Moment, ports::Clock};

/// The wall clock of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // A clock set before 1970 reads as 1970: no moment of ours is older.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
