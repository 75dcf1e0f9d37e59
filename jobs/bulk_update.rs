//! `bulk-update`: one change to many records, or a list of different ones.
//!
//! One job with a cursor: it walks the records it is about in chunks, and after each chunk says how far
//! it has got. Which records there are to change an operator has declared. Where a run ends early the
//! next one goes on after the last chunk, and a chunk that was done without anybody having heard of it
//! changes nothing more the second time.

mod check;
mod decode;
mod events;
#[cfg(test)]
mod tests;
mod walk;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::contract::{
    Context, Job, LaneName, Outcome, Problem, Retry,
    resource::{Fields, Resources},
    schema,
};

/// The most items that one job names. A filter may select more.
pub const MOST_ITEMS: usize = 1_000_000;
/// The errors of items that an answer lists; all of them can be exported.
pub const MOST_ERRORS: u32 = 1_000;

/// The same change to many records, or a list of different ones.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkUpdate {
    /// The resource: one of those that are declared.
    pub resource: String,
    /// Which of its records.
    pub selection: Selection,
    /// `update`, `upsert`, `delete` or an action of the resource.
    pub action: String,
    /// Fields and what they are to be; `null` clears, what is not named stays. An item's own go over
    /// these.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub update: Fields,
}

/// Which records.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// The records with these ids. An id that is there twice is changed once.
    Ids {
        /// At most 1,000,000.
        ids: Vec<ItemId>,
    },
    /// The records that a filter holds for.
    Filter {
        /// `{"field": name}` with one of `equals`, `in`, `from` and/or `to`, `contains` and `is_null`;
        /// or `{"and": […]}`, `{"or": […]}` of such.
        #[schemars(with = "Fields")]
        filter: Value,
    },
    /// Records with changes of their own, in this order.
    Items {
        /// At most 1,000,000.
        items: Vec<Item>,
    },
}

/// A record with changes of its own.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The record's id.
    pub id: ItemId,
    /// Its fields and what they are to be.
    #[serde(default, skip_serializing_if = "OwnFields::is_empty")]
    #[schemars(with = "Fields")]
    pub update: OwnFields,
}

/// The fields of one item, as they were written: a million of them lie in memory, and each is looked into
/// when its turn comes.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct OwnFields(Option<Box<RawValue>>);

/// A record's id: a text, or a whole number, which is the text of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl JsonSchema for ItemId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ItemId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "integer"]})
    }
}

impl Job for BulkUpdate {
    const KIND: &'static str = "bulk-update";
    // Two to three hours: a database that is gone for longer needs a person, who may retry the job.
    const RETRY: Retry = Retry {
        max_attempts: 20,
        waits: &[
            Duration::from_secs(2),
            Duration::from_secs(10),
            Duration::from_secs(60),
            Duration::from_secs(300),
            Duration::from_secs(600),
        ],
        jitter: 0.2,
    };
    // A million items in a slow database. What hangs is ended sooner: each chunk has its own time.
    const TIMEOUT: Duration = Duration::from_secs(86_400);
    const PATIENCE: Duration = Duration::from_secs(7 * 86_400);
    const BULK: bool = true;
    const OBJECTS_ONLY: bool = true;

    fn check(&self) -> Vec<Problem> {
        check::check(self)
    }

    fn check_declared(&self, declared: &Resources) -> Vec<Problem> {
        check::check_declared(self, declared)
    }

    fn schema() -> Value {
        schema::<Self>()
    }

    fn example() -> Value {
        json!({
            "resource": "suppressions",
            "selection": {"mode": "ids", "ids": ["ada@example.org", "@example.net"]},
            "action": "suppress",
        })
    }

    fn lane(&self) -> LaneName {
        LaneName::resource(&self.resource)
    }

    /// What a filter selects is counted when the job first runs.
    fn items(&self) -> u64 {
        match &self.selection {
            Selection::Ids { ids } => ids.len() as u64,
            Selection::Items { items } => items.len() as u64,
            Selection::Filter { .. } => 0,
        }
    }

    async fn perform(self, ctx: &Context) -> Outcome {
        walk::walk(&self, ctx).await
    }
}
