//! Resources: records of which many are changed at once, as far as a payload may name them.
//!
//! A payload names a resource, an action and fields; what of these there is was declared by an
//! operator. Which table and columns stand behind them only the engine's adapter knows.

mod action;
mod field;
mod filter;
mod id;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

pub use self::{
    action::{Action, Takes},
    field::{Field, FieldType, Stored},
    filter::{Filter, Test},
    id::{IdForm, LONGEST_ID},
};
use super::{Problem, problem::escaped};

/// Fields and what they are to be; `null` clears.
pub type Fields = Map<String, Value>;

/// Every resource that was declared, by name.
#[derive(Debug, Clone, Default)]
pub struct Resources(BTreeMap<String, Arc<Resource>>);

/// Records that can be changed in bulk.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// What payloads call it.
    pub name: String,
    /// What its ids look like.
    pub id: IdForm,
    /// Its fields, by the names that payloads use.
    pub fields: BTreeMap<String, Field>,
    /// What can be done to its records, by the names that payloads use.
    pub actions: BTreeMap<String, Action>,
    /// The event that tells of a change, if one does.
    pub event: Option<ChangeEvent>,
}

/// The event that tells of changed records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeEvent {
    /// Its type: `ticket.updated`.
    pub name: String,
    /// Whether each record has one of its own.
    pub per: Per,
}

/// What one event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One record.
    Record,
    /// All records that were changed in one step.
    Chunk,
}

impl Resources {
    /// These resources.
    pub fn new(resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        Self(resources.into_iter().map(|one| (one.name.clone(), one)).collect())
    }

    /// The resource of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Resource>> {
        self.0.get(name)
    }

    /// The names of all resources, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Resource {
    /// What is wrong with these fields for an action, with pointers that begin with `at`.
    pub fn check_fields(&self, action: &Action, fields: &Fields, at: &str) -> Vec<Problem> {
        let check = |(name, value): (&String, &Value)| {
            let at = || format!("{at}/{}", escaped(name));
            let Some(field) = self.fields.get(name).filter(|field| field.change) else {
                let words = format!(
                    "{} has no field {name:?} that can be changed; it has {}",
                    self.name,
                    self.changeable()
                );
                return Some(Problem::new(at(), "unknown_field", words));
            };
            if !action.takes(name) {
                let words =
                    format!("this action does not take {name}; it takes {}", action.taken());
                return Some(Problem::new(at(), "field_not_taken", words));
            }
            field.flaw(value).map(|words| Problem::new(at(), "invalid_value", words))
        };
        fields.iter().filter_map(check).collect()
    }

    fn changeable(&self) -> String {
        let names = self.fields.iter().filter(|(_, field)| field.change).map(|(name, _)| &**name);
        names.collect::<Vec<_>>().join(", ")
    }
}
