//! Whether a table is what was declared.

use std::collections::BTreeSet;

use jobs::contract::resource::{Field, FieldType, IdForm, Stored};

use super::{
    Table,
    columns::{Class, Column, Columns},
    deeds,
};

/// Everything in which a table is not what was declared, each in words.
pub(super) fn mismatches(table: &Table, columns: &Columns) -> Vec<String> {
    if columns.by_name.is_empty() {
        return vec![format!("there is no {}", table.spoken())];
    }
    let mut fit = Fit { table, columns, words: Vec::new() };
    fit.id();
    fit.tenant();
    fit.fields();
    fit.moments();
    fit.insert();
    fit.rights();
    fit.words
}

struct Fit<'a> {
    table: &'a Table,
    columns: &'a Columns,
    words: Vec<String>,
}

impl<'a> Fit<'a> {
    fn column(&mut self, what: &str, name: &str) -> Option<&'a Column> {
        let found = self.columns.by_name.get(name);
        if found.is_none() {
            self.words.push(format!("{what}: {} has no column {name:?}", self.table.spoken()));
        }
        found
    }

    fn id(&mut self) {
        let name = &self.table.id;
        let Some(column) = self.column("id", name) else { return };
        let fits = match self.table.resource.id {
            IdForm::Integer => column.class == Class::Integer,
            IdForm::Uuid => matches!(column.class, Class::Uuid | Class::Text(_)),
            // Ids are compared to the letter.
            _ => matches!(column.class, Class::Text(_)) && column.type_name != "citext",
        };
        if !fits {
            let type_name = &column.type_name;
            let words = format!("id: column {name:?} is {type_name}, which holds no such ids");
            self.words.push(words);
        }
        if self.key().is_none() {
            let tenant = &self.table.tenant;
            self.words.push(format!(
                "id: {name:?} is not unique, neither by itself nor within {tenant:?}"
            ));
        }
    }

    /// The columns by which one record is found.
    fn key(&self) -> Option<&'a BTreeSet<String>> {
        key(self.table, self.columns)
    }

    fn tenant(&mut self) {
        let name = &self.table.tenant;
        let Some(column) = self.column("tenant", name) else { return };
        if !matches!(column.class, Class::Text(_) | Class::Uuid) {
            let type_name = &column.type_name;
            let words = format!("tenant: column {name:?} is {type_name}, which holds no tenants");
            self.words.push(words);
        }
    }

    fn fields(&mut self) {
        for (name, field) in &self.table.resource.fields {
            let column_name = &self.table.columns[name];
            let what = format!("field {name:?}");
            let Some(column) = self.column(&what, column_name) else { continue };
            if let Some(words) = unfit(field, column) {
                self.words.push(format!("{what}: column {column_name:?} {words}"));
            }
        }
    }

    fn moments(&mut self) {
        let soft = self.table.soft_delete.iter().map(|name| ("soft_delete", name));
        let touch = self.table.touch.iter().map(|name| ("touch", name));
        for (what, name) in soft.chain(touch) {
            let Some(column) = self.column(what, name) else { continue };
            if !matches!(column.class, Class::Timestamp | Class::Integer | Class::Text(_)) {
                let type_name = &column.type_name;
                let words =
                    format!("{what}: column {name:?} is {type_name}, which holds no moments");
                self.words.push(words);
            } else if what == "soft_delete" && column.not_null {
                self.words.push(format!("{what}: column {name:?} is never NULL"));
            }
        }
    }

    fn rights(&mut self) {
        for (name, action) in &self.table.resource.actions {
            let needs = deeds::find(&action.deed).map_or(&[][..], |deed| deed.needs(self.table));
            let denied = needs.iter().filter(|right| self.columns.denied.contains(**right));
            let denied: Vec<_> = denied.copied().collect();
            if !denied.is_empty() {
                let (rights, what) = (denied.join(" and "), self.table.spoken());
                self.words.push(format!("actions.{name}: it needs the right to {rights} {what}"));
            }
        }
    }

    fn insert(&mut self) {
        let table = self.table;
        for name in table.insert.keys() {
            self.column("insert", name);
        }
        if !table.resource.actions.values().any(|a| matches!(&*a.deed, "upsert" | "ensure")) {
            return;
        }
        let said = |name: &String| {
            *name == table.id
                || *name == table.tenant
                || table.touch.contains(name)
                || table.insert.contains_key(name)
                || table.columns.values().any(|column| column == name)
        };
        let mut missing: Vec<_> = self
            .columns
            .by_name
            .iter()
            .filter(|(_, column)| column.not_null && !column.fills_itself && !column.generated)
            .filter(|(name, _)| !said(name))
            .map(|(name, _)| {
                format!(
                    "insert: a new record needs {name:?}, which nothing in the declaration fills"
                )
            })
            .collect();
        missing.sort();
        self.words.append(&mut missing);
    }
}

/// The unique columns by which one record is found: the id, or the tenant and the id.
pub(super) fn key<'c>(table: &Table, columns: &'c Columns) -> Option<&'c BTreeSet<String>> {
    let finds = |set: &&BTreeSet<String>| {
        set.contains(&table.id) && set.iter().all(|c| *c == table.id || *c == table.tenant)
    };
    // The narrower one, if there are two: it is what a new record would clash with first.
    columns.unique.iter().filter(finds).min_by_key(|set| set.len())
}

/// Why a column cannot hold what a field is, if it cannot.
fn unfit(field: &Field, column: &Column) -> Option<String> {
    let Column { class, type_name, .. } = column;
    if field.change && column.generated {
        return Some("is computed by the database: expected change = false".to_owned());
    }
    if field.null && field.change && column.not_null {
        return Some("is NOT NULL: expected null = false".to_owned());
    }
    let fits = match (&field.kind, class) {
        (FieldType::Text { max }, Class::Text(Some(most))) => {
            let longest = FieldType::longest(*max);
            if longest > *most {
                return Some(format!(
                    "is {type_name}({most}), and the field has up to {longest} characters: expected \
                     max = {most} or less"
                ));
            }
            true
        }
        (FieldType::Text { .. } | FieldType::Json, Class::Text(_))
        | (FieldType::Json, Class::Json)
        | (FieldType::Integer { .. }, Class::Integer | Class::Numeric)
        | (FieldType::Number { .. }, Class::Real | Class::Numeric)
        | (FieldType::Boolean, Class::Boolean | Class::Integer)
        | (FieldType::Timestamp(Stored::Native), Class::Timestamp | Class::Text(_))
        | (FieldType::Timestamp(Stored::Milliseconds), Class::Integer)
        | (FieldType::Enum(_), Class::Text(_))
        | (FieldType::Uuid, Class::Uuid | Class::Text(_)) => true,
        (FieldType::Timestamp(Stored::Native), Class::Integer) => {
            return Some(format!("is {type_name}: expected stored = \"milliseconds\""));
        }
        (FieldType::Enum(values), Class::Enum(labels)) => {
            if let Some(value) = values.iter().find(|value| !labels.contains(value)) {
                return Some(format!("is {type_name}, which has no {value:?}"));
            }
            true
        }
        _ => false,
    };
    (!fits).then(|| format!("is {type_name}, which does not hold the declared type"))
}
