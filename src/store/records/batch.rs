//! A chunk as statements: no record twice in one, and one set of columns in each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write,
    sync::Arc,
};

use jobs::contract::{Moment, ports::Change};
use serde_json::Value;

use super::{
    Fill, Table,
    columns::{Class, Columns},
    deeds::Deed,
    encode,
    sql::{Shape, value},
};

/// Records that one statement changes.
pub(super) struct Batch<'c> {
    /// The statement.
    pub(super) counting: Arc<str>,
    /// The same, answering the ids of the records that it changed.
    pub(super) telling: Arc<str>,
    pub(super) rows: Vec<Row<'c>>,
}

/// A record, and its values as JSON.
pub(super) struct Row<'c> {
    pub(super) change: &'c Change,
    json: String,
}

/// Rows as one text that is bound.
pub(super) fn bind(rows: &[Row<'_>]) -> String {
    let all: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
    format!("[{}]", all.join(","))
}

/// Rows of ids alone.
pub(super) fn bind_ids(table: &Table, columns: &Columns, changes: &[Change]) -> String {
    let class = columns.class(&table.id);
    let row = |change: &Change| {
        Value::Object([("pr_id".to_owned(), id(change, &class))].into_iter().collect())
    };
    Value::Array(changes.iter().map(row).collect()).to_string()
}

fn id(change: &Change, class: &Class) -> Value {
    let number = (*class == Class::Integer).then(|| change.id.parse::<i64>().ok()).flatten();
    number.map_or_else(|| change.id.as_str().into(), Value::from)
}

/// The statements for changes, in the order in which they must be carried out.
pub(super) fn batches<'c>(
    shape: &Shape<'_>,
    deed: &dyn Deed,
    changes: &'c [Change],
    at: Moment,
) -> Vec<Batch<'c>> {
    let mut batches = Vec::new();
    for round in rounds(changes) {
        // By their columns; records of one round are different ones, and in any order.
        let mut groups: BTreeMap<Vec<&str>, Vec<&Change>> = BTreeMap::new();
        for change in round {
            let names = change.fields.keys().map(String::as_str).collect();
            groups.entry(names).or_default().push(change);
        }
        batches.extend(groups.iter().map(|(names, group)| batch(shape, deed, names, group, at)));
    }
    batches
}

/// Changes in runs in which no record is there twice.
fn rounds(changes: &[Change]) -> Vec<&[Change]> {
    let mut rounds = Vec::new();
    let (mut from, mut seen) = (0, HashSet::new());
    for (at, change) in changes.iter().enumerate() {
        if !seen.insert(change.id.as_str()) {
            rounds.push(&changes[from..at]);
            from = at;
            seen = HashSet::from([change.id.as_str()]);
        }
    }
    rounds.push(&changes[from..]);
    rounds
}

fn batch<'c>(
    shape: &Shape<'_>,
    deed: &dyn Deed,
    names: &[&str],
    changes: &[&'c Change],
    at: Moment,
) -> Batch<'c> {
    let table = shape.table;
    let mut columns: Vec<String> = names.iter().map(|name| table.columns[*name].clone()).collect();
    let given = columns.len();
    let fills: HashMap<String, Fill> =
        deed.fills(table).into_iter().filter(|(column, _)| !columns.contains(column)).collect();
    let mut filled: Vec<&String> = fills.keys().collect();
    filled.sort();
    columns.extend(filled.into_iter().cloned());
    let sql = deed.statement(shape, &columns, given);
    let telling = format!("{sql} RETURNING {}", shape.changed_id()).into();
    let classes = columns.iter().map(|column| shape.columns.class(column)).collect();
    let id_class = shape.columns.class(&table.id);
    let writer =
        RowWriter { shape, names, columns: &columns, classes, id_class, fills: &fills, at };
    let rows = changes.iter().map(|change| writer.row(change)).collect();
    Batch { counting: sql.into(), telling, rows }
}

struct RowWriter<'a> {
    shape: &'a Shape<'a>,
    names: &'a [&'a str],
    columns: &'a [String],
    classes: Vec<Class>,
    id_class: Class,
    fills: &'a HashMap<String, Fill>,
    at: Moment,
}

impl RowWriter<'_> {
    fn row<'c>(&self, change: &'c Change) -> Row<'c> {
        let table = self.shape.table;
        let mut json = format!("{{\"pr_id\":{}", id(change, &self.id_class));
        for (n, column) in self.columns.iter().enumerate() {
            let class = &self.classes[n];
            let cell = match self.names.get(n) {
                Some(name) => {
                    encode::cell(&change.fields[*name], &table.resource.fields[*name], class)
                }
                None => self.filled(column, change, class),
            };
            // A name of ours needs no escaping; to write to a text does not fail.
            let _ = write!(json, ",\"{}\":{cell}", value(n));
        }
        json.push('}');
        Row { change, json }
    }

    fn filled(&self, column: &str, change: &Change, class: &Class) -> Value {
        match &self.fills[column] {
            Fill::Now => encode::moment(self.at, class),
            Fill::Id => change.given.trim().into(),
            Fill::Value(value) => encode::plain(value, class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_twice_in_a_round_and_the_order_stays() {
        let change = |(ordinal, id): (u64, &str)| Change {
            ordinal,
            id: id.to_owned(),
            given: id.to_owned(),
            fields: Arc::default(),
        };
        let changes: Vec<_> = (0..).zip(["a", "b", "a", "a", "c"]).map(change).collect();
        let rounds: Vec<Vec<u64>> =
            rounds(&changes).iter().map(|r| r.iter().map(|c| c.ordinal).collect()).collect();
        assert_eq!(rounds, [vec![0, 1], vec![2], vec![3, 4]]);
    }
}
