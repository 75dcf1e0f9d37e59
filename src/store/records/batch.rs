//! A chunk as statements: no record twice in one, and one set of columns in each.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt::Write,
};

use jobs::contract::{Moment, ports::Change};
use serde_json::Value;

use super::{
    Fill,
    bound::Cell,
    columns::Class,
    deeds::Deed,
    encode,
    sql::{Rows, Shape, value},
};

/// Records that one statement changes.
pub(super) struct Batch<'c> {
    shape: &'c Shape<'c>,
    deed: &'c dyn Deed,
    columns: Vec<String>,
    given: usize,
    /// The values of the last columns, which are the same in all rows.
    same: Vec<Value>,
    pub(super) rows: Vec<Row<'c>>,
}

/// A record, and its values without those that are the same in all rows.
pub(super) struct Row<'c> {
    pub(super) change: &'c Change,
    cells: Vec<Cow<'c, Value>>,
}

impl Batch<'_> {
    /// The statement over so many rows.
    pub(super) fn statement(&self, count: usize) -> String {
        let rows = Rows { columns: &self.columns, given: self.given, same: self.same.len(), count };
        self.deed.statement(self.shape, &rows)
    }

    /// The same, answering the ids of the records that it changed.
    pub(super) fn telling(&self, count: usize) -> String {
        format!("{} RETURNING {}", self.statement(count), self.shape.changed_id())
    }

    /// What is bound to it.
    pub(super) fn bind<'b>(&'b self, tenant: &'b str, rows: &'b [Row<'_>]) -> Vec<Cell<'b>> {
        bind(self.shape, tenant, &self.same, rows)
    }

    /// The most rows that one statement takes.
    pub(super) fn most(&self) -> usize {
        most(self.shape, self.columns.len())
    }
}

/// Values that SQLite takes in one statement, less those that all rows have.
const MOST_BOUND: usize = 32_000;

fn most(shape: &Shape<'_>, columns: usize) -> usize {
    if shape.columns.lite { (MOST_BOUND / (columns + 1)).max(1) } else { usize::MAX }
}

/// What is bound to a statement over rows. SQLite counts values as they come in its text: the tenant, what
/// is the same in all rows, the rows, and the tenant again for whoever asks for it behind them.
pub(super) fn bind<'b>(
    shape: &Shape<'_>,
    tenant: &'b str,
    same: &'b [Value],
    rows: &'b [Row<'_>],
) -> Vec<Cell<'b>> {
    let id_class = shape.columns.class(&shape.table.id);
    let tenant = Cell::Text(Cow::Borrowed(tenant));
    if !shape.columns.lite {
        let mut bound = vec![Cell::Text(Cow::Owned(json(rows, &id_class))), tenant];
        bound.extend(same.iter().map(Cell::text));
        return bound;
    }
    let width = rows.first().map_or(1, |row| row.cells.len() + 1);
    let mut bound = Vec::with_capacity(rows.len() * width + same.len() + 2);
    bound.push(tenant.clone());
    bound.extend(same.iter().map(Cell::native));
    for row in rows {
        let number = whole_id(row.change, &id_class).map(Cell::Integer);
        bound.push(number.unwrap_or_else(|| Cell::Text(Cow::Borrowed(&row.change.id))));
        bound.extend(row.cells.iter().map(|cell| Cell::native(cell)));
    }
    bound.push(tenant);
    bound
}

/// Rows as one text.
fn json(rows: &[Row<'_>], id_class: &Class) -> String {
    let mut json = String::from("[");
    for (at, row) in rows.iter().enumerate() {
        // Names of ours need no escaping; to write to a text does not fail.
        let before = if at == 0 { "" } else { "," };
        let _ = write!(json, "{before}{{\"pr_id\":{}", id(row.change, id_class));
        for (n, cell) in row.cells.iter().enumerate() {
            let _ = write!(json, ",\"{}\":{cell}", value(n));
        }
        json.push('}');
    }
    json.push(']');
    json
}

fn id(change: &Change, class: &Class) -> Value {
    whole_id(change, class).map_or_else(|| change.id.as_str().into(), Value::from)
}

/// The id where it is a number.
fn whole_id(change: &Change, class: &Class) -> Option<i64> {
    (*class == Class::Integer).then(|| change.id.parse().ok()).flatten()
}

/// Rows of ids alone, as many as a statement takes in each part.
pub(super) fn ids<'c>(shape: &Shape<'_>, changes: &'c [Change]) -> Vec<Vec<Row<'c>>> {
    let row = |change| Row { change, cells: Vec::new() };
    changes
        .chunks(most(shape, 0).min(changes.len().max(1)))
        .map(|part| part.iter().map(row).collect())
        .collect()
}

/// The statements for changes, in the order in which they must be carried out.
pub(super) fn batches<'c>(
    shape: &'c Shape<'c>,
    deed: &'c dyn Deed,
    changes: &'c [Change],
    at: Moment,
) -> Vec<Batch<'c>> {
    let mut batches = Vec::new();
    for round in rounds(changes) {
        // By their columns; records of one round are different ones, and in any order.
        let mut groups: Vec<Vec<&Change>> = Vec::new();
        for change in round {
            let names = || change.fields.keys();
            let known = groups.iter_mut().find(|group| group[0].fields.keys().eq(names()));
            match known {
                Some(group) => group.push(change),
                None => groups.push(vec![change]),
            }
        }
        let names = |group: &Vec<&'c Change>| -> Vec<&'c str> {
            group[0].fields.keys().map(String::as_str).collect()
        };
        batches.extend(groups.iter().map(|group| batch(shape, deed, &names(group), group, at)));
    }
    batches
}

/// Changes in runs in which no record is there twice.
fn rounds(changes: &[Change]) -> Vec<&[Change]> {
    let mut rounds = Vec::new();
    let (mut from, mut seen) = (0, HashSet::with_capacity(changes.len()));
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
    shape: &'c Shape<'c>,
    deed: &'c dyn Deed,
    names: &[&str],
    changes: &[&'c Change],
    at: Moment,
) -> Batch<'c> {
    let table = shape.table;
    let mut columns: Vec<String> = names.iter().map(|name| table.columns[*name].clone()).collect();
    let given = columns.len();
    let fills: BTreeMap<String, Fill> =
        deed.fills(table).into_iter().filter(|(column, _)| !columns.contains(column)).collect();
    let (own, shared): (Vec<_>, Vec<_>) =
        fills.into_iter().partition(|(_, fill)| *fill == Fill::Id);
    columns.extend(own.iter().map(|(column, _)| column.clone()));
    let classes: Vec<_> = columns.iter().map(|column| shape.columns.class(column)).collect();
    let same = shared
        .into_iter()
        .map(|(column, fill)| {
            let class = shape.columns.class(&column);
            columns.push(column);
            filled(&fill, at, &class)
        })
        .collect();
    let row = |change: &&'c Change| {
        let field = |(name, class): (&&str, &Class)| {
            encode::cell(&change.fields[*name], &table.resource.fields[*name], class)
        };
        let mut cells: Vec<_> = names.iter().zip(&classes).map(field).collect();
        cells.extend(own.iter().map(|_| Cow::Owned(change.given.trim().into())));
        Row { change, cells }
    };
    let rows = changes.iter().map(row).collect();
    Batch { shape, deed, columns, given, same, rows }
}

/// What a column is filled with in every row.
fn filled(fill: &Fill, at: Moment, class: &Class) -> Value {
    match fill {
        Fill::Now => encode::moment(at, class),
        // Each row has its own.
        Fill::Id => Value::Null,
        Fill::Value(value) => encode::plain(value, class),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
