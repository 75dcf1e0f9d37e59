//! An action, as it is written.

use std::collections::{BTreeMap, BTreeSet};

use jobs::contract::resource::{Action, Field, Fields, Takes};
use serde::Deserialize;
use serde_json::Value;

use super::resource::{NULL, is_name};

/// `[resources.actions.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenAction {
    #[serde(default, rename = "do")]
    deed: Option<String>,
    #[serde(default)]
    set: Fields,
    #[serde(default)]
    takes: Option<BTreeSet<String>>,
}

impl WrittenAction {
    /// The action of this name, for a resource with these fields, whose place knows these deeds.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in words.
    pub(super) fn read(
        self,
        name: &str,
        fields: &BTreeMap<String, Field>,
        known: &[&str],
    ) -> Result<Action, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut wrong = |what: &str, words: String| {
            mistakes.push(format!("actions.{name}{what}: {words}"));
        };
        if !is_name(name) {
            wrong("", "expected a name of 1 to 63 letters, digits, '-' or '_'".to_owned());
        }
        let deed = self.deed.unwrap_or_else(|| name.to_owned());
        if !known.contains(&deed.as_str()) {
            wrong(".do", format!("expected one of {}", known.join(", ")));
        }
        let mut set = self.set;
        for (field, value) in &mut set {
            if value == NULL {
                *value = Value::Null;
            }
            // An action may set what payloads may not.
            let flaw = match fields.get(field) {
                None => Some("expected one of the resource's fields".to_owned()),
                Some(declared) => declared.flaw(value),
            };
            if let Some(words) = flaw {
                wrong(&format!(".set.{field}"), words);
            }
        }
        let takes = takes(self.takes, &deed, &set);
        if let Takes::These(names) = &takes {
            let changes = |name: &&String| !fields.get(*name).is_some_and(|field| field.change);
            for field in names.iter().filter(changes) {
                wrong(".takes", format!("expected fields that can be changed, got {field:?}"));
            }
        }
        let needs_fields = deed == "update" && set.is_empty();
        let action = Action { deed, set, takes, needs_fields };
        if mistakes.is_empty() { Ok(action) } else { Err(mistakes) }
    }
}

/// What sets something by itself takes only what it names; what changes records takes all.
fn takes(written: Option<BTreeSet<String>>, deed: &str, set: &Fields) -> Takes {
    match written {
        Some(names) => Takes::These(names),
        None if matches!(deed, "update" | "upsert") && set.is_empty() => Takes::All,
        None => Takes::These(BTreeSet::new()),
    }
}
