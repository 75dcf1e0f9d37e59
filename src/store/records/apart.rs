//! Chunks of records that lie elsewhere than their job's account.
//!
//! The records are changed first and the account is written after; who ends between the two leaves a
//! chunk that is done and not known to be, and perhaps the one after it. They are done again then, in
//! their order: values are absolute, so that nothing more changes. Where a record would not be found again,
//! what was found is written down before, and the account before the next chunk.

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join};
use jobs::contract::{
    Fault, RunInfo,
    ports::{Account, Advance, Chunk, Clock, Planned},
    resource::Resource,
};

use super::{apply::Outcome, change::changed};
use crate::{clock::SystemClock, store::Store};

/// The account before a chunk, as soon as it is known.
pub(crate) type Before = BoxFuture<'static, Result<Account, Fault>>;

/// Records that lie elsewhere.
#[async_trait]
pub(crate) trait Apart: Send + Sync {
    /// Which of the chunk's records are there, by their ids.
    async fn there(&self, chunk: &Chunk) -> Result<Vec<String>, Fault>;

    /// Changes them; `planned` is what an earlier run found, which may have changed them already.
    async fn apply(&mut self, chunk: &Chunk, planned: Option<&Planned>) -> Result<Outcome, Fault>;

    /// Whether a record is not found again once it was changed.
    fn forgets(&self) -> bool;
}

/// Changes a chunk once the account before is there, and writes the account where the chunk cannot simply
/// be done again; otherwise that is left to be done while the next one is changed.
pub(crate) async fn change(
    store: &Store,
    run: &RunInfo,
    resource: &Resource,
    before: Before,
    chunk: &Chunk,
    records: &mut dyn Apart,
) -> Result<Advance, Fault> {
    let by_filter = chunk.position.is_some();
    let at_once = by_filter || records.forgets();
    let before = if at_once {
        before.await?
    } else {
        // Whether the account is still the run's is asked while the chunk before is at work.
        try_join(before, store.is_mine(run)).await?.0
    };
    if before.planned.is_none() && at_once {
        let ids = if records.forgets() {
            records.there(chunk).await?
        } else {
            chunk.changes.iter().map(|change| change.id.clone()).collect()
        };
        // A walk by a filter goes on from these ids: it needs all of them, found or not.
        let ids = if by_filter { all_of(chunk, ids) } else { ids };
        store.plan(run, &before, &Planned { ids, at: chunk.at }).await?;
    } else if at_once {
        store.is_mine(run).await?;
    }
    let outcome = records.apply(chunk, before.planned.as_ref()).await?;
    let (account, errors) = changed(before, resource, chunk, outcome);
    if !at_once {
        return Ok(Advance { account, unkept: Some(errors) });
    }
    store.advance(run, &account, &errors, SystemClock.now()).await?;
    Ok(Advance { account, unkept: None })
}

fn all_of(chunk: &Chunk, found: Vec<String>) -> Vec<String> {
    if found.len() == chunk.changes.len() {
        return found;
    }
    chunk.changes.iter().map(|change| change.id.clone()).collect()
}
