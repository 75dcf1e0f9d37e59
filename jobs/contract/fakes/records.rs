//! Records in memory, which can be made to lose their job at any step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};

use super::lock;
use crate::contract::{
    Fault, JobId, RunInfo, TenantId,
    ports::{Account, Advance, Change, Changed, Chunk, ItemError, Planned, Records, Search},
    resource::{Fields, Filter, Resource, Resources},
};

/// Records in memory: of one tenant, by resource and id.
#[derive(Default)]
pub struct FakeRecords(Arc<State>);

#[derive(Default)]
struct State {
    resources: Mutex<Resources>,
    rows: Mutex<BTreeMap<String, Fields>>,
    accounts: Mutex<BTreeMap<JobId, (u64, Account)>>,
    errors: Mutex<Vec<ItemError>>,
    writes: Mutex<BTreeMap<String, u32>>,
    apart: AtomicBool,
    steps: AtomicI64,
}

impl FakeRecords {
    /// Declares a resource, in place of any other.
    pub fn declare(&self, resource: Resource) {
        *lock(&self.0.resources) = Resources::new([Arc::new(resource)]);
    }

    /// Records lie apart from the account: a step may come between the two.
    pub fn lie_apart(&self) {
        self.0.apart.store(true, Ordering::SeqCst);
    }

    /// Adds a record.
    pub fn put(&self, id: &str, fields: Fields) {
        lock(&self.0.rows).insert(id.to_owned(), fields);
    }

    /// Every record.
    pub fn all(&self) -> BTreeMap<String, Fields> {
        lock(&self.0.rows).clone()
    }

    /// The errors of items, in the order in which they were written.
    pub fn errors(&self) -> Vec<ItemError> {
        lock(&self.0.errors).clone()
    }

    /// How often each record was given other values than it had.
    pub fn writes(&self) -> BTreeMap<String, u32> {
        lock(&self.0.writes).clone()
    }

    /// The run ends after so many more steps, as if its process had.
    pub fn end_after(&self, steps: u32) {
        self.0.steps.store(i64::from(steps) + 1, Ordering::SeqCst);
    }
}

impl State {
    fn step(&self) -> Result<(), Fault> {
        let before = self.steps.fetch_sub(1, Ordering::SeqCst);
        if before == 1 { Err(Fault::transient("vanished", "a test says so")) } else { Ok(()) }
    }

    fn holds(&self, run: &RunInfo) -> Result<(), Fault> {
        let accounts = lock(&self.accounts);
        let mine = accounts.get(&run.job).is_some_and(|(fence, _)| *fence == run.fence);
        if mine { Ok(()) } else { Err(Fault::transient("lease_lost", "a later run has it")) }
    }

    fn store(&self, run: &RunInfo, account: &Account) {
        lock(&self.accounts).insert(run.job, (run.fence, account.clone()));
    }

    /// Changes one record; whether it was there.
    fn apply(&self, deed: &str, change: &Change) -> bool {
        let mut rows = lock(&self.rows);
        if deed == "delete" {
            return rows.remove(&change.id).is_some();
        }
        if deed == "upsert" {
            rows.entry(change.id.clone()).or_default();
        }
        let Some(row) = rows.get_mut(&change.id) else { return false };
        let before = row.clone();
        row.extend(change.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        if before != *row {
            *lock(&self.writes).entry(change.id.clone()).or_default() += 1;
        }
        true
    }

    /// The error of an item that was there before is written over.
    fn write_down(&self, errors: &[ItemError]) {
        let mut all = lock(&self.errors);
        all.retain(|old| errors.iter().all(|new| new.ordinal != old.ordinal));
        all.extend_from_slice(errors);
    }

    fn change_now(
        &self,
        run: &RunInfo,
        resource: &Resource,
        mut before: Account,
        chunk: &Chunk,
    ) -> Result<Advance, Fault> {
        self.step()?;
        self.holds(run)?;
        let apart = self.apart.load(Ordering::SeqCst);
        let deed = chunk.action.deed.as_str();
        let once = chunk.position.is_some() || deed == "delete";
        if apart && before.planned.is_none() && once {
            let there = lock(&self.rows);
            let ids = chunk.changes.iter().map(|change| change.id.clone());
            let ids = ids.filter(|id| there.contains_key(id)).collect();
            drop(there);
            before.planned = Some(Planned { ids, at: chunk.at });
            self.store(run, &before);
            self.step()?;
        }
        let mut after = Account { planned: None, changed: Vec::new(), ..before.clone() };
        let mut errors = chunk.refused.clone();
        for change in &chunk.changes {
            let planned = before.planned.as_ref().is_some_and(|p| p.ids.contains(&change.id));
            if self.apply(deed, change) || (deed == "delete" && planned) {
                let Change { ordinal, id, .. } = change.clone();
                after.changed.push(Changed { ordinal, id });
            } else {
                errors.push(ItemError::not_found(change));
            }
        }
        if resource.event.is_none() {
            after.changed.clear();
        }
        after.processed += chunk.items();
        after.failed += errors.len() as u64;
        after.chunk += 1;
        after.position = chunk.position.clone().or(before.position);
        if apart && !once {
            return Ok(Advance { account: after, unkept: Some(errors) });
        }
        if apart {
            self.step()?;
            self.holds(run)?;
        }
        self.store(run, &after);
        self.write_down(&errors);
        self.step()?;
        Ok(Advance { account: after, unkept: None })
    }
}

#[async_trait]
impl Records for FakeRecords {
    fn resource(&self, name: &str) -> Option<Arc<Resource>> {
        lock(&self.0.resources).find(name).cloned()
    }

    async fn open(
        &self,
        run: &RunInfo,
        _resource: &Resource,
        total: Option<u64>,
    ) -> Result<Account, Fault> {
        self.0.step()?;
        let mut accounts = lock(&self.0.accounts);
        let (fence, account) = accounts.entry(run.job).or_default();
        if *fence > run.fence {
            return Err(Fault::transient("lease_lost", "a later run has it"));
        }
        *fence = run.fence;
        account.total = account.total.or(total);
        Ok(account.clone())
    }

    async fn count(&self, _tenant: &TenantId, search: &Search<'_>) -> Result<u64, Fault> {
        self.0.step()?;
        let rows = lock(&self.0.rows);
        Ok(rows.values().filter(|row| holds(search.filter, row)).count() as u64)
    }

    async fn page(
        &self,
        _tenant: &TenantId,
        search: &Search<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Fault> {
        self.0.step()?;
        let rows = lock(&self.0.rows);
        let later = rows.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        let found = later.filter(|(_, row)| holds(search.filter, row)).map(|(id, _)| id.clone());
        Ok(found.take(limit as usize).collect())
    }

    /// Done when it is begun, if it may be: no adapter is faster.
    fn change(
        &self,
        run: &RunInfo,
        resource: &Arc<Resource>,
        mut before: BoxFuture<'static, Result<Account, Fault>>,
        chunk: Chunk,
    ) -> BoxFuture<'static, Result<Advance, Fault>> {
        let (state, run, resource) = (Arc::clone(&self.0), run.clone(), Arc::clone(resource));
        let change = move |before: Result<Account, Fault>| {
            state.change_now(&run, &resource, before?, &chunk)
        };
        match (&mut before).now_or_never() {
            Some(before) => ready(change(before)).boxed(),
            None => before.map(change).boxed(),
        }
    }

    async fn keep(&self, run: &RunInfo, advance: &Advance) -> Result<(), Fault> {
        let Some(errors) = &advance.unkept else { return Ok(()) };
        self.0.step()?;
        self.0.holds(run)?;
        self.0.store(run, &advance.account);
        self.0.write_down(errors);
        self.0.step()
    }
}

fn holds(filter: &Filter, row: &Fields) -> bool {
    filter.holds(&|name| row.get(name).cloned().unwrap_or_default())
}
