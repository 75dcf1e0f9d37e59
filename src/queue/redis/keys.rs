//! Where things lie: shards, what their keys begin with, and ids.
//!
//! Keys below a shard's beginning are named by `lua/shard.lua` and used by scripts alone, but for those
//! that are named here, too; nothing of the queue lies outside a shard.

use jobs::contract::{JobId, LaneName, TenantId};

use super::error::corrupt;
use crate::queue::{LaneRef, LeaseRef, QueueError};

/// Holds the parts of a name apart; in no queue, tenant or lane name.
pub(super) const SEPARATOR: char = '\u{1}';
/// A lease's fence carries its shard above these bits, since a lease names no tenant.
const FENCE_BITS: u32 = 48;
/// Shards at most: so many fit above the fence.
pub(super) const MOST_SHARDS: u16 = 1_024;

/// The shards of a queue.
#[derive(Debug)]
pub(super) struct Shards {
    bases: Vec<String>,
}

impl Shards {
    pub(super) fn new(prefix: &str, count: u16) -> Self {
        Self { bases: (0..count).map(|n| format!("{prefix}:{{{prefix}:{n}}}:")).collect() }
    }

    pub(super) fn all(&self) -> std::ops::Range<usize> {
        0..self.bases.len()
    }

    /// What all keys of the shard begin with: the tag in braces is what a cluster goes by.
    pub(super) fn base(&self, shard: usize) -> &str {
        &self.bases[shard]
    }

    /// The channel on which the shard tells what is new.
    pub(super) fn channel(&self, shard: usize) -> String {
        format!("{}news", self.bases[shard])
    }

    /// The shard of all that is a tenant's. Stored data go by it: it never changes.
    pub(super) fn of(&self, tenant: &TenantId) -> usize {
        crc32fast::hash(tenant.as_str().as_bytes()) as usize % self.bases.len()
    }

    /// The shard of a bucket that all tenants share.
    pub(super) fn of_bucket(&self, bucket: &str) -> usize {
        crc32fast::hash(bucket.as_bytes()) as usize % self.bases.len()
    }

    /// The shard of a lease, and its fence there; none for a lease that no shard of ours gave.
    pub(super) fn of_lease(&self, lease: &LeaseRef) -> Option<(usize, u64)> {
        let shard = usize::try_from(lease.fence >> FENCE_BITS).ok()?;
        let fence = lease.fence & ((1 << FENCE_BITS) - 1);
        (shard < self.bases.len()).then_some((shard, fence))
    }
}

/// The fence that callers see.
pub(super) fn outer_fence(shard: usize, fence: u64) -> u64 {
    ((shard as u64) << FENCE_BITS) | fence
}

/// Where the bundle with this head lies, below a shard's beginning.
pub(super) fn bundle(base: &str, head: &str) -> String {
    format!("{base}bundle{SEPARATOR}{head}")
}

/// Where the payload lies that a job keeps apart.
pub(super) fn payload(base: &str, id: JobId) -> String {
    format!("{base}payload{SEPARATOR}{}", short(id))
}

/// A lane's id in its shard.
pub(super) fn lane_id(queue: &str, tenant: &TenantId, name: &LaneName) -> String {
    format!("{queue}{SEPARATOR}{tenant}{SEPARATOR}{name}")
}

/// The lane of such an id.
pub(super) fn lane_of(id: &str) -> Result<LaneRef, QueueError> {
    let mut parts = id.splitn(3, SEPARATOR);
    let (Some(queue), Some(tenant), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(corrupt("a lane's id", id));
    };
    Ok(LaneRef {
        queue: queue.to_owned(),
        tenant: tenant.parse().map_err(|e| corrupt("a tenant", e))?,
        name: LaneName::from_text(name),
    })
}

/// A job's id as keys hold it: without the word that all of them begin with.
pub(super) fn short(id: JobId) -> String {
    id.ulid(&mut [0; 26]).to_owned()
}

/// The job of such an id.
pub(super) fn job_of(short: &str) -> Result<JobId, QueueError> {
    JobId::without_prefix(short)
        .ok_or_else(|| corrupt("a job's id", format!("expected a ULID, got {short:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_keys_share_one_tag_that_no_other_shard_has() {
        let shards = Shards::new("p", 2);
        assert_eq!([shards.base(0), shards.base(1)], ["p:{p:0}:", "p:{p:1}:"]);
    }

    #[test]
    fn a_fence_carries_its_shard() {
        let shards = Shards::new("p", 9);
        let lease = |shard| LeaseRef { id: JobId::from_u128(1), fence: outer_fence(shard, 7) };
        assert_eq!(shards.of_lease(&lease(0)), Some((0, 7)));
        assert_eq!(shards.of_lease(&lease(8)), Some((8, 7)));
        assert_eq!(shards.of_lease(&lease(9)), None);
        assert_eq!(lease(0).fence, 7);
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let (id, tenant) = (JobId::generate(), "acme".parse().unwrap());
        assert_eq!(job_of(&short(id)).unwrap(), id);
        let name = LaneName::mailbox("ada@example.com");
        let lane = lane_of(&lane_id("send", &tenant, &name)).unwrap();
        assert_eq!((lane.queue.as_str(), lane.tenant, lane.name), ("send", tenant, name));
        assert!(lane_of("send").is_err());
    }

    #[test]
    fn a_tenants_shard_never_changes() {
        let shards = Shards::new("p", 8);
        let of = |name: &str| shards.of(&name.parse().unwrap());
        assert_eq!([of("dev"), of("acme"), of("beta")], [5, 6, 3]);
    }
}
