//! A resource's table, as it is declared.

use std::{collections::BTreeMap, sync::Arc};

use jobs::contract::resource::Resource;
use serde_json::Value;

/// A table in which the records of a resource lie. Its names come from a declaration, never from a
/// payload.
#[derive(Debug, Clone)]
pub struct Table {
    /// The resource.
    pub resource: Arc<Resource>,
    /// The database it is in; none: the store.
    pub database: Option<String>,
    /// Its name, after its schema's if that was given.
    pub path: Vec<String>,
    /// The column of the id.
    pub id: String,
    /// The column of the tenant.
    pub tenant: String,
    /// The column of each field.
    pub columns: BTreeMap<String, String>,
    /// The column that says when a record was deleted; none: deleted records are gone.
    pub soft_delete: Option<String>,
    /// Columns that say when a record was last changed.
    pub touch: Vec<String>,
    /// Columns that a new record begins with.
    pub insert: BTreeMap<String, Fill>,
}

/// What a column is filled with.
#[derive(Debug, Clone, PartialEq)]
pub enum Fill {
    /// The time.
    Now,
    /// The record's id, as it was given.
    Id,
    /// This.
    Value(Value),
}

impl Table {
    /// What people call it.
    pub fn spoken(&self) -> String {
        let name = self.path.join(".");
        match &self.database {
            Some(database) => format!("table {name} of database {database}"),
            None => format!("table {name} of the store"),
        }
    }
}
