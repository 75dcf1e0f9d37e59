//! Records that are changed in bulk, and the account of how far a job has got with them.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Fault, JobId, Moment, RunInfo, TenantId,
    resource::{Action, Fields, Filter, Resource},
};

/// How far a job has got: what is true of its records, however often it was interrupted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Items in all; none while nobody has counted.
    pub total: Option<u64>,
    /// Items done, well or badly.
    pub processed: u64,
    /// Items of these that failed.
    pub failed: u64,
    /// Chunks done.
    pub chunk: u64,
    /// The last record that a filter's walk has reached.
    pub position: Option<String>,
    /// What an earlier run had begun and may have done: the chunk after those that are done.
    pub planned: Option<Planned>,
    /// What the last chunk changed, for the events that tell of it; empty where none does.
    pub changed: Vec<Changed>,
}

impl Account {
    /// Where a walk goes on after a chunk, before anybody knows how that ended.
    #[must_use]
    pub fn reaching(&self, chunk: &Chunk) -> Self {
        let position = chunk.position.clone().or_else(|| self.position.clone());
        Self { processed: self.processed + chunk.items(), position, ..Self::default() }
    }
}

/// A chunk that an earlier run had begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The records that were there.
    pub ids: Vec<String>,
    /// When it was begun.
    pub at: Moment,
}

/// A record that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The number of its item, from 0.
    pub ordinal: u64,
    /// Its id.
    pub id: String,
}

/// A record to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The number of its item, from 0.
    pub ordinal: u64,
    /// Its id, as it is stored.
    pub id: String,
    /// Its id, as it was given.
    pub given: String,
    /// Its fields, and what they are to be.
    pub fields: Arc<Fields>,
}

/// Records that are changed together.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// What is done to them.
    pub action: Arc<Action>,
    /// The records, in the order in which they are to be changed.
    pub changes: Vec<Change>,
    /// Items of the chunk that were refused before anything was asked.
    pub refused: Vec<ItemError>,
    /// Whether a filter selected them: where it goes on after them.
    pub position: Option<String>,
    /// The time.
    pub at: Moment,
}

impl Chunk {
    /// How many items it is about.
    pub fn items(&self) -> u64 {
        (self.changes.len() + self.refused.len()) as u64
    }
}

/// What is true after a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The account after it.
    pub account: Account,
    /// The errors of its items, where they and the account are still to be written down
    /// ([`Records::keep`]); none: both are.
    pub unkept: Option<Vec<ItemError>>,
}

/// What is wrong with one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemError {
    /// The number of the item, from 0.
    #[serde(skip)]
    pub ordinal: u64,
    /// The record's id, as it was given.
    pub item_id: String,
    /// What, for programs: `not_found`, `duplicate`, `constraint` …
    pub code: String,
    /// What, for people.
    pub message: String,
}

impl ItemError {
    /// There is no such record of this tenant.
    pub fn not_found(change: &Change) -> Self {
        Self {
            ordinal: change.ordinal,
            item_id: change.given.clone(),
            code: "not_found".to_owned(),
            message: "there is no record with this id".to_owned(),
        }
    }
}

/// Which records are looked for, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// What holds for them.
    pub filter: &'a Filter,
    /// What is to be done to them. Deleted records are found only if it reaches them.
    pub action: &'a Action,
    /// What their fields are to be.
    pub fields: &'a Fields,
}

/// Records that are changed in bulk.
#[async_trait]
pub trait Records: Send + Sync {
    /// The resource that is declared under this name.
    fn resource(&self, name: &str) -> Option<Arc<Resource>>;

    /// Takes a job's account over for this run, and says what is in it. `total` is written down if
    /// nothing is yet.
    ///
    /// # Errors
    ///
    /// A transient fault when a later run has it, or the store is out of reach.
    async fn open(
        &self,
        run: &RunInfo,
        resource: &Resource,
        total: Option<u64>,
    ) -> Result<Account, Fault>;

    /// How many records of the tenant a filter holds for.
    ///
    /// # Errors
    ///
    /// A transient fault when the records are out of reach, a permanent one when they are not what
    /// was declared.
    async fn count(&self, tenant: &TenantId, search: &Search<'_>) -> Result<u64, Fault>;

    /// The ids of the first records that a filter holds for, in the order of the ids, after a
    /// position; at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Records::count`].
    async fn page(
        &self,
        tenant: &TenantId,
        search: &Search<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Fault>;

    /// Begins to change the records of one chunk, and answers when that is done. The adapter goes on by
    /// itself while nobody waits; what is dropped ends, with the chunk changed as a whole or not at all; in
    /// part only where the chunk may be changed again, and its database says no sooner what it refuses.
    ///
    /// Where records and account lie together both are written in one step. Where they do not, and the
    /// chunk may be changed again without more being changed, the account is left to
    /// [`Records::keep`], so that the next chunk can be changed meanwhile. `before` is the account before,
    /// as this run had it last: nothing is changed until it is there, and all is made ready for that. The
    /// same chunk again, by a run that found it unfinished, changes nothing more.
    ///
    /// # Errors
    ///
    /// As [`Records::count`], and what `before` answers; a transient fault when a later run has the
    /// account. No item of the chunk counts as done then.
    fn change(
        &self,
        run: &RunInfo,
        resource: &Arc<Resource>,
        before: BoxFuture<'static, Result<Account, Fault>>,
        chunk: Chunk,
    ) -> BoxFuture<'static, Result<Advance, Fault>>;

    /// Writes down what a change left to be written; chunks in their order.
    ///
    /// # Errors
    ///
    /// A transient fault when a later run has the account, or the store is out of reach.
    async fn keep(&self, run: &RunInfo, advance: &Advance) -> Result<(), Fault>;
}

/// The errors of single items.
#[async_trait]
pub trait ItemErrors: Send + Sync {
    /// Errors of a job's items in the order of the items, from the one after number `after`.
    ///
    /// # Errors
    ///
    /// A transient fault when the store is out of reach.
    async fn item_errors(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ItemError>, Fault>;
}
