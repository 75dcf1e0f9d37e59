//! What can be done to the records of a resource.

use std::collections::BTreeSet;

use super::Fields;

/// Something that can be done to records.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What the adapter does for it: `update`, `upsert`, `ensure`, `delete`, `retry` …
    pub deed: String,
    /// Fields that it sets by itself; what a payload gives goes over them.
    pub set: Fields,
    /// Which fields a payload may give.
    pub takes: Takes,
    /// Whether a payload must give at least one.
    pub needs_fields: bool,
}

/// Which fields a payload may give for an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// All that can be changed.
    All,
    /// These.
    These(BTreeSet<String>),
}

impl Action {
    /// Whether a payload may give this field.
    pub fn takes(&self, field: &str) -> bool {
        match &self.takes {
            Takes::All => true,
            Takes::These(names) => names.contains(field),
        }
    }

    /// The fields that a payload may give, in words.
    pub(super) fn taken(&self) -> String {
        match &self.takes {
            Takes::All => "all that can be changed".to_owned(),
            Takes::These(names) if names.is_empty() => "none".to_owned(),
            Takes::These(names) => names.iter().cloned().collect::<Vec<_>>().join(", "),
        }
    }

    /// What becomes of a record's fields: what the action sets, under what was given.
    pub fn fields(&self, given: &[&Fields]) -> Fields {
        let mut fields = self.set.clone();
        for some in given {
            fields.extend(some.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        fields
    }
}
