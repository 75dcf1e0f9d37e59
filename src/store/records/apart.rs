//! Chunks of records that lie elsewhere than their job's account.
//!
//! The records are changed first and the account is written after; who ends between the two leaves a
//! chunk that is done and not known to be. It is done again then: values are absolute, so that nothing
//! more changes. Where a record would not be found again, what was found is written down before.

use async_trait::async_trait;
use jobs::contract::{
    Fault, RunInfo,
    ports::{Account, Chunk, Clock, Planned},
    resource::Resource,
};

use super::{apply::Outcome, change::changed};
use crate::{clock::SystemClock, store::Store};

/// Records that lie elsewhere.
#[async_trait]
pub(crate) trait Apart: Sync {
    /// Which of the chunk's records are there, by their ids.
    async fn there(&self, chunk: &Chunk<'_>) -> Result<Vec<String>, Fault>;

    /// Changes them; `planned` is what an earlier run found, which may have changed them already.
    async fn apply(&self, chunk: &Chunk<'_>, planned: Option<&Planned>) -> Result<Outcome, Fault>;

    /// Whether a record is not found again once it was changed.
    fn forgets(&self) -> bool;
}

/// Changes a chunk and writes the account.
pub(crate) async fn change(
    store: &Store,
    run: &RunInfo,
    resource: &Resource,
    account: Account,
    chunk: &Chunk<'_>,
    records: &dyn Apart,
) -> Result<Account, Fault> {
    let by_filter = chunk.position.is_some();
    if account.planned.is_none() && (by_filter || records.forgets()) {
        let ids = if records.forgets() {
            records.there(chunk).await?
        } else {
            chunk.changes.iter().map(|change| change.id.clone()).collect()
        };
        // A walk by a filter goes on from these ids: it needs all of them, found or not.
        let ids = if by_filter { all_of(chunk, ids) } else { ids };
        store.plan(run, &account, &Planned { ids, at: chunk.at }).await?;
    } else {
        store.is_mine(run, &account).await?;
    }
    let outcome = records.apply(chunk, account.planned.as_ref()).await?;
    let (after, errors) = changed(account, resource, chunk, outcome);
    store.advance(run, &after, &errors, SystemClock.now()).await?;
    Ok(after)
}

fn all_of(chunk: &Chunk<'_>, found: Vec<String>) -> Vec<String> {
    if found.len() == chunk.changes.len() {
        return found;
    }
    chunk.changes.iter().map(|change| change.id.clone()).collect()
}
