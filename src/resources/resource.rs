//! A resource, as it is written.

use std::{collections::BTreeMap, sync::Arc};

use jobs::contract::resource::{ChangeEvent, IdForm, Per, Resource};
use serde::Deserialize;
use serde_json::Value;

use super::{Place, action::WrittenAction, dead_jobs, field::WrittenField};
use crate::store::records::{self, Fill, Table};

const LONGEST_NAME: usize = 63;
/// What is no value: TOML has no null.
pub(super) const NULL: &str = "$null";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    database: String,
    #[serde(default)]
    table: Option<String>,
    id: WrittenId,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    soft_delete: Option<String>,
    #[serde(default)]
    touch: Vec<String>,
    #[serde(default)]
    insert: BTreeMap<String, Value>,
    #[serde(default)]
    event: Option<WrittenEvent>,
    fields: BTreeMap<String, WrittenField>,
    actions: BTreeMap<String, WrittenAction>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum WrittenId {
    Column(String),
    Whole {
        #[serde(default)]
        column: Option<String>,
        form: Form,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Text,
    Integer,
    Uuid,
    Address,
    AddressOrDomain,
    Job,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEvent {
    name: String,
    per: WrittenPer,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenPer {
    Record,
    Chunk,
}

/// Reads a resource, and where its records lie.
///
/// # Errors
///
/// Every mistake in it, in words.
pub(super) fn read(table: toml::Table) -> Result<(Arc<Resource>, Place), Vec<String>> {
    let written: Written = serde_path_to_error::deserialize(table).map_err(|e| {
        let words = e.inner().to_string().trim().replace('\n', " ");
        vec![match e.path().to_string().as_str() {
            "." => words,
            path => format!("{path}: {words}"),
        }]
    })?;
    let mut reader = Reader::default();
    let read = reader.read(written);
    match read {
        Some(read) if reader.mistakes.is_empty() => Ok(read),
        _ => Err(reader.mistakes),
    }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<String>,
}

impl Reader {
    fn wrong(&mut self, what: &str, words: impl AsRef<str>) {
        self.mistakes.push(format!("{what}: {}", words.as_ref()));
    }

    fn read(&mut self, written: Written) -> Option<(Arc<Resource>, Place)> {
        if !is_name(&written.name) {
            self.wrong("name", "expected 1 to 63 letters, digits, '-' or '_'");
        }
        let in_queue = written.database == "queue";
        let mut columns = BTreeMap::new();
        let mut resource = Resource {
            name: written.name,
            id: IdForm::Text,
            fields: BTreeMap::new(),
            actions: BTreeMap::new(),
            event: written.event.and_then(|event| self.event(event)),
        };
        let id_column = self.id(&mut resource, written.id, in_queue);
        for (name, field) in written.fields {
            let column = field.column.clone().unwrap_or_else(|| name.clone());
            self.identifier(&format!("fields.{name}"), &column);
            columns.insert(name.clone(), column);
            match field.read() {
                Ok(field) => {
                    resource.fields.insert(name, field);
                }
                Err(words) => self.wrong(&format!("fields.{name}"), words),
            }
        }
        for (name, action) in written.actions {
            let known = if in_queue { dead_jobs::deeds() } else { records::deeds() };
            match action.read(&name, &resource.fields, &known) {
                Ok(action) => {
                    resource.actions.insert(name, action);
                }
                Err(found) => self.mistakes.extend(found),
            }
        }
        let resource = Arc::new(resource);
        if in_queue {
            return Some((resource, Place::DeadJobs));
        }
        let (Some(path), Some(tenant)) = (written.table, written.tenant) else {
            self.wrong("table", "expected a table, and the column of its tenant");
            return None;
        };
        let table = Table {
            resource: Arc::clone(&resource),
            database: Some(written.database).filter(|name| name != "store"),
            path: path.split('.').map(str::to_owned).collect(),
            id: id_column,
            tenant,
            columns,
            soft_delete: written.soft_delete,
            touch: written.touch,
            insert: written
                .insert
                .into_iter()
                .map(|(column, value)| (column, fill(value)))
                .collect(),
        };
        self.identifiers(&table);
        Some((resource, Place::Table(table)))
    }

    fn id(&mut self, resource: &mut Resource, id: WrittenId, in_queue: bool) -> String {
        let (column, form) = match id {
            WrittenId::Column(column) => (Some(column), Form::Text),
            WrittenId::Whole { column, form } => (column, form),
        };
        if (form == Form::Job) != in_queue {
            self.wrong("id", "expected the form job for what lies in the queue, and only there");
        }
        resource.id = match form {
            Form::Text => IdForm::Text,
            Form::Integer => IdForm::Integer,
            Form::Uuid => IdForm::Uuid,
            Form::Address => IdForm::Address,
            Form::AddressOrDomain => IdForm::AddressOrDomain,
            Form::Job => IdForm::Job,
        };
        column.unwrap_or_else(|| "id".to_owned())
    }

    fn event(&mut self, event: WrittenEvent) -> Option<ChangeEvent> {
        let is_event =
            !event.name.contains('*') && jobs::webhook_delivery::is_subscription(&event.name);
        if !is_event {
            self.wrong("event.name", "expected words with dots between them: ticket.updated");
            return None;
        }
        let per = match event.per {
            WrittenPer::Record => Per::Record,
            WrittenPer::Chunk => Per::Chunk,
        };
        Some(ChangeEvent { name: event.name, per })
    }

    fn identifiers(&mut self, table: &Table) {
        if table.path.len() > 2 {
            self.wrong("table", "expected a name, after a schema's and a dot if need be");
        }
        let single = [("id", &table.id), ("tenant", &table.tenant)];
        let lists = table.path.iter().map(|name| ("table", name));
        let lists = lists.chain(table.soft_delete.iter().map(|name| ("soft_delete", name)));
        let lists = lists.chain(table.touch.iter().map(|name| ("touch", name)));
        let lists = lists.chain(table.insert.keys().map(|name| ("insert", name)));
        for (what, name) in single.into_iter().chain(lists) {
            self.identifier(what, name);
        }
        for (name, column) in &table.columns {
            if *column == table.id || *column == table.tenant {
                let words = "this is the column of the id or the tenant, which do not change";
                let changes = table.resource.fields.get(name).is_some_and(|field| field.change);
                if changes {
                    self.wrong(&format!("fields.{name}"), words);
                }
            }
        }
    }

    /// Names go into statements quoted; what no table has is a mistake all the same.
    fn identifier(&mut self, what: &str, name: &str) {
        let fits = (1..=LONGEST_NAME).contains(&name.len())
            && !name.chars().any(|c| c.is_control() || c == '"');
        if !fits {
            let words = format!("expected a name of 1 to {LONGEST_NAME} bytes without quotes");
            self.wrong(what, words);
        }
    }
}

fn fill(value: Value) -> Fill {
    match value.as_str() {
        Some("$now") => Fill::Now,
        Some("$id") => Fill::Id,
        Some(NULL) => Fill::Value(Value::Null),
        _ => Fill::Value(value),
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(fits)
}
