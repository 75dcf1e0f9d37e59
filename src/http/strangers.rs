//! How often an address may come without a key that is known to be good.
//!
//! Looking a key up costs a query, and saying no costs an answer; neither must be free of charge for
//! whoever only tries. This is counted in each process for itself: it protects the process. Callers
//! whose key has been good before are not counted, and callers with what could be a key are counted apart
//! from those without, so that a flood from behind a shared address (a proxy, an office) does not shut
//! them out.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use hyper::http::Extensions;

use super::{codes::ErrorCode, error::ApiError, serve::Peer};
use crate::config::Rate;

/// After so many questions, addresses that have been quiet are forgotten.
const TIDY_EVERY: u32 = 10_000;

/// Counts strangers by address.
pub(super) struct Strangers {
    /// By address, and whether they came with what could be a key.
    seen: DefaultKeyedRateLimiter<(IpAddr, bool)>,
    since_tidied: AtomicU32,
    clock: DefaultClock,
}

impl Strangers {
    /// Lets each address come this often.
    pub(super) fn new(rate: Rate) -> Self {
        let count = NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN);
        // A window has at least a millisecond, and a share of it at least a nanosecond.
        let share = (rate.window / count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(share)
            .expect("a nanosecond or more is no empty period")
            .allow_burst(count);
        let seen = RateLimiter::keyed(quota);
        Self { seen, since_tidied: AtomicU32::new(0), clock: DefaultClock::default() }
    }

    /// Lets a stranger pass, or says when to come again; whether it comes with what could be a key.
    pub(super) fn admit(&self, of_request: &Extensions, has_key: bool) -> Result<(), ApiError> {
        // Only tests of handlers have requests without an address.
        let Some(Peer(address)) = of_request.get() else { return Ok(()) };
        if self.since_tidied.fetch_add(1, Relaxed) >= TIDY_EVERY {
            self.since_tidied.store(0, Relaxed);
            self.seen.retain_recent();
        }
        self.seen.check_key(&(neighbourhood(*address), has_key)).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
            let detail = "Too many requests without a good key came from this address.";
            ApiError::new(ErrorCode::RateLimited, detail).retry_after(seconds.max(1))
        })
    }
}

/// What belongs to one host: its IPv4 address, or its IPv6 network, in which it may have any.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(address.parse().unwrap()));
        extensions
    }

    #[test]
    fn each_address_has_an_allowance_of_its_own() {
        let strangers = Strangers::new("3/h".parse().unwrap());
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8:1:1::1"] {
            let admitted = (0..5).filter(|_| strangers.admit(&from(address), true).is_ok()).count();
            assert_eq!(admitted, 3, "{address}");
        }
        // The same host, written or chosen otherwise.
        assert!(strangers.admit(&from("::ffff:192.0.2.1"), true).is_err());
        assert!(strangers.admit(&from("2001:db8:1:1:ffff::9"), true).is_err());
        assert!(strangers.admit(&from("2001:db8:1:2::1"), true).is_ok());
        assert!(strangers.admit(&from("192.0.2.1"), false).is_ok(), "without a key, apart");
    }

    #[test]
    fn quiet_addresses_are_forgotten() {
        let strangers = Strangers::new("1000000/s".parse().unwrap());
        for n in 0..2 * TIDY_EVERY {
            let address = IpAddr::from(n.to_be_bytes());
            let mut extensions = Extensions::new();
            extensions.insert(Peer(address));
            assert!(strangers.admit(&extensions, true).is_ok());
        }
        assert!(strangers.seen.len() <= TIDY_EVERY as usize + 2, "{}", strangers.seen.len());
    }
}
