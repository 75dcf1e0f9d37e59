//! Gone.

use async_trait::async_trait;
use jobs::contract::{JobId, TenantId};

use super::Deed;
use crate::queue::{Changed, Queue, QueueError};

pub(super) struct Discard;

#[async_trait]
impl Deed for Discard {
    fn name(&self) -> &'static str {
        "discard"
    }

    async fn perform(
        &self,
        queue: &dyn Queue,
        tenant: &TenantId,
        id: JobId,
    ) -> Result<bool, QueueError> {
        Ok(queue.discard(tenant, id).await? == Changed::Done)
    }
}
