//! Endpoints that were read a moment ago.
//!
//! Every delivery wants its endpoint's state and then its address, and so does the next delivery to
//! the same endpoint. What is kept here is at most a second old; what this process changes it forgets
//! at once, so that only a change by another process is seen that late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jobs::contract::TenantId;

use super::{EndpointRow, Store, StoreError};

/// How long what was read is taken for true.
const FRESH: Duration = Duration::from_secs(1);
/// The most endpoints that are kept.
const MOST: usize = 1_024;

/// Endpoints that were read a moment ago.
#[derive(Debug, Default)]
pub(super) struct EndpointCache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rows: HashMap<(TenantId, String), (Instant, Arc<EndpointRow>)>,
    /// How often something was forgotten.
    changes: u64,
}

impl EndpointCache {
    /// The endpoint, if it was read just now; or else what [`Self::keep`] wants to be told.
    fn get(&self, tenant: &TenantId, id: &str) -> Result<Arc<EndpointRow>, u64> {
        let kept = self.lock();
        match kept.rows.get(&(tenant.clone(), id.to_owned())) {
            Some((since, row)) if since.elapsed() < FRESH => Ok(Arc::clone(row)),
            _ => Err(kept.changes),
        }
    }

    /// Keeps an endpoint, unless something changed since `changes` was given: it may have been read
    /// before that.
    fn keep(&self, changes: u64, tenant: &TenantId, row: &Arc<EndpointRow>) {
        let mut kept = self.lock();
        if kept.changes != changes {
            return;
        }
        if kept.rows.len() >= MOST {
            kept.rows.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if kept.rows.len() < MOST {
            let name = (tenant.clone(), row.settings.id.clone());
            kept.rows.insert(name, (Instant::now(), Arc::clone(row)));
        }
    }

    /// Forgets an endpoint that was changed.
    pub(super) fn forget(&self, tenant: &TenantId, id: &str) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.rows.remove(&(tenant.clone(), id.to_owned()));
    }

    /// Forgets the endpoints of a tenant.
    pub(super) fn forget_all_of(&self, tenant: &TenantId) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.rows.retain(|(of, _), _| of != tenant);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// The tenant's endpoint of this name, as it was at most a second ago.
    pub(super) async fn endpoint_lately(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<Arc<EndpointRow>>, StoreError> {
        let changes = match self.endpoints.get(tenant, id) {
            Ok(row) => return Ok(Some(row)),
            Err(changes) => changes,
        };
        let row = self.endpoint_row(tenant, id).await?.map(Arc::new);
        if let Some(row) = &row {
            self.endpoints.keep(changes, tenant, row);
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jobs::contract::{Moment, ports::Format};

    use super::*;
    use crate::store::EndpointSettings;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn row(id: &str) -> Arc<EndpointRow> {
        let settings = EndpointSettings {
            id: id.to_owned(),
            description: None,
            url: "https://example.org".to_owned().into(),
            format: Format::Standard,
            events: vec!["*".to_owned()],
            headers: BTreeMap::new(),
            second: None,
            rate: None,
            secret: None,
            enabled: None,
        };
        Arc::new(EndpointRow {
            settings,
            old_secrets: Vec::new(),
            disabled: None,
            failing_since: None,
            circuit_until: None,
            created_at: Moment::default(),
        })
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let (cache, acme) = (EndpointCache::default(), tenant("acme"));
        let changes = cache.get(&acme, "crm").unwrap_err();
        cache.forget(&acme, "other");
        cache.keep(changes, &acme, &row("crm"));
        let changes = cache.get(&acme, "crm").unwrap_err();
        cache.keep(changes, &acme, &row("crm"));
        assert_eq!(cache.get(&acme, "crm").unwrap().settings.id, "crm");
    }

    #[test]
    fn what_was_changed_is_forgotten_and_nothing_else() {
        let (cache, acme, zoo) = (EndpointCache::default(), tenant("acme"), tenant("zoo"));
        for (tenant, id) in [(&acme, "a"), (&acme, "b"), (&zoo, "a")] {
            let changes = cache.get(tenant, id).unwrap_err();
            cache.keep(changes, tenant, &row(id));
        }
        cache.forget(&acme, "a");
        assert!(cache.get(&acme, "a").is_err());
        assert!(cache.get(&acme, "b").is_ok());
        cache.forget_all_of(&acme);
        assert!(cache.get(&acme, "b").is_err());
        assert!(cache.get(&zoo, "a").is_ok());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (cache, acme) = (EndpointCache::default(), tenant("acme"));
        for number in 0..=MOST {
            cache.keep(0, &acme, &row(&format!("e{number}")));
        }
        assert_eq!(cache.lock().rows.len(), MOST);
    }
}
