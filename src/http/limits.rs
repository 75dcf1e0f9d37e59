//! How many requests a tenant may send, and the headers that tell it so.

use hyper::header::{HeaderMap, HeaderValue};
use jobs::contract::{Moment, TenantId};

use super::{codes::ErrorCode, error::ApiError};
use crate::{
    config::Rate,
    limits::window,
    queue::{Drawn, Limit, Queue, QueueError},
};

/// The allowance of every tenant.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    limit: Limit,
    policy: HeaderValue,
}

impl Allowance {
    /// Draws on the tenant's log of permits, which all façades share.
    pub(super) fn new(rate: Rate) -> Self {
        let seconds = rate.window.as_millis().div_ceil(1_000);
        let policy = format!("\"default\";q={};w={seconds}", rate.count);
        Self {
            limit: window("requests", "http", rate),
            policy: HeaderValue::try_from(policy).expect("digits and ASCII are a header value"),
        }
    }

    /// Draws one permit.
    pub(super) async fn draw(
        &self,
        queue: &dyn Queue,
        tenant: &TenantId,
    ) -> Result<Budget, QueueError> {
        let drawn = queue.draw(tenant, &self.limit).await?;
        Ok(Budget::of(self, &drawn, queue.now()))
    }
}

/// What is left of a tenant's allowance after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Budget {
    granted: bool,
    label: String,
    limit: u32,
    remaining: u32,
    /// The first whole second at which the permits, or the next one, are there; epoch seconds.
    reset: i64,
    /// Whole seconds until then. Counted from the beginning of the current second, so that a caller
    /// who adds it to the `Date` of the answer is not early.
    until_reset: u64,
    policy: HeaderValue,
}

impl Budget {
    fn of(allowance: &Allowance, drawn: &Drawn, now: Moment) -> Self {
        let reset = drawn.reset_at.millis().div_euclid(1_000)
            + i64::from(drawn.reset_at.millis().rem_euclid(1_000) > 0);
        Self {
            granted: drawn.granted,
            label: allowance.limit.label.clone(),
            limit: allowance.limit.count,
            remaining: if drawn.granted { drawn.remaining } else { 0 },
            reset,
            until_reset: u64::try_from(reset - now.seconds()).unwrap_or(0),
            policy: allowance.policy.clone(),
        }
    }

    /// Refuses the request when there was no permit for it.
    pub(super) fn admit(&self) -> Result<(), ApiError> {
        if self.granted {
            return Ok(());
        }
        let seconds = self.until_reset.max(1);
        let detail = format!("The limit is {}; please wait {seconds} s.", self.label);
        Err(ApiError::new(ErrorCode::RateLimited, detail).retry_after(seconds))
    }

    /// Says what is left, in the old words and in the IETF's.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", self.limit.into());
        headers.insert("x-ratelimit-remaining", self.remaining.into());
        headers.insert("x-ratelimit-reset", self.reset.into());
        headers.insert("ratelimit-policy", self.policy.clone());
        let left = format!("\"default\";r={};t={}", self.remaining, self.until_reset);
        if let Ok(value) = HeaderValue::try_from(left) {
            headers.insert("ratelimit", value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(granted: bool, remaining: u32, reset_at: i64, now: i64) -> Budget {
        let allowance = Allowance::new("60/min".parse().unwrap());
        let drawn = Drawn { granted, remaining, reset_at: Moment::from_millis(reset_at) };
        Budget::of(&allowance, &drawn, Moment::from_millis(now))
    }

    #[test]
    fn a_caller_that_heeds_the_headers_is_never_early() {
        for (reset_at, now) in
            [(11_100, 10_900), (11_000, 10_999), (70_000, 10_000), (10_001, 10_000)]
        {
            let budget = budget(false, 0, reset_at, now);
            let by_date = now / 1_000 + i64::try_from(budget.until_reset).unwrap();
            assert!(by_date * 1_000 >= reset_at, "{reset_at} {now}");
            assert_eq!(by_date, budget.reset);
            assert!(budget.admit().is_err());
        }
    }

    #[test]
    fn the_last_permit_is_a_permit() {
        let last = budget(true, 0, 70_000, 10_000);
        assert_eq!(last.admit(), Ok(()));
        let mut headers = HeaderMap::new();
        last.tell(&mut headers);
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("x-ratelimit-remaining"), "0");
        assert_eq!(text("x-ratelimit-reset"), "70");
        assert_eq!(text("ratelimit"), "\"default\";r=0;t=60");
        assert_eq!(text("ratelimit-policy"), "\"default\";q=60;w=60");
    }
}
