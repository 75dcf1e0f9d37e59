//! Lanes: what they are called, what they may draw on, how they are held back.

use jobs::contract::{LaneName, Moment, TenantId};
use serde::{Deserialize, Serialize};

/// A lane, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneRef {
    /// The queue it belongs to.
    pub queue: String,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name.
    pub name: LaneName,
}

/// At most `count` permits in every sliding window of length `window`.
///
/// Limits of one tenant with the same `bucket` draw on one log of permits: the three windows of a
/// mailbox, or lanes that share an allowance. A shared limit's permits are kept apart from those, and
/// are not refunded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is counted, within the tenant: `mailbox:dev@example.com`.
    pub bucket: String,
    /// What people call it: `mailbox 40/h`.
    pub label: String,
    /// Permits in a window; at least 1.
    pub count: u32,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// One bucket for all tenants: a relay or a provider that they share.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl Limit {
    /// Whose permits these are: the tenant's, or of no one tenant.
    pub fn owner<'t>(&self, tenant: &'t TenantId) -> &'t str {
        if self.shared { "" } else { tenant.as_str() }
    }
}

/// What a lane may draw on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePolicy {
    /// All of them must admit a job.
    pub limits: Vec<Limit>,
    /// How many of the lane's jobs may run at once.
    pub in_flight: Option<u32>,
}

/// Why a lane is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkReason {
    /// This limit admits nothing before then.
    Limit(String),
    /// A job asked for it, with these words.
    Snooze(String),
}

/// What a pause is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseTarget {
    /// A whole queue.
    Queue(String),
    /// One lane.
    Lane(LaneRef),
}

/// What drawing a permit gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Whether there was one.
    pub granted: bool,
    /// How many are left now.
    pub remaining: u32,
    /// When the log of the window will be empty if nothing more is drawn; when refused, the moment
    /// at which the next permit comes free.
    pub reset_at: Moment,
}

/// Which lanes to list.
#[derive(Debug, Clone, Default)]
pub struct LaneFilter {
    /// Of this queue.
    pub queue: Option<String>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Only lanes that wait for something other than a turn.
    pub held: bool,
    /// How many at most.
    pub limit: u32,
}

/// A lane, as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneRecord {
    /// Which lane.
    pub lane: LaneRef,
    /// Jobs that wait in it, scheduled ones included.
    pub waiting: u64,
    /// Jobs of it that run.
    pub in_flight: u64,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Until when it is parked, and why; none when it is not.
    pub parked: Option<(Moment, ParkReason)>,
    /// What it may draw on.
    pub policy: LanePolicy,
}
