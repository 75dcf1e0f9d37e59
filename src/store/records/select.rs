//! Finding records: filters as conditions, in pages by the id.

use jobs::contract::{
    ports::Search,
    resource::{Filter, Test},
};
use serde_json::Value;

use super::{
    deeds, encode,
    sql::{Rows, Shape, name},
};

/// A question: its text, and the texts bound from `$1` on.
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) bound: Vec<String>,
}

/// How many records of the tenant are found.
pub(super) fn count(shape: &Shape<'_>, tenant: &str, search: &Search<'_>) -> Question {
    let mut asking = Asking::new(shape, tenant);
    let condition = asking.condition(search);
    asking.question(format!("SELECT count(*) FROM {} WHERE {condition}", shape.target()))
}

/// The ids of the next records that are found.
pub(super) fn page(
    shape: &Shape<'_>,
    tenant: &str,
    search: &Search<'_>,
    after: Option<&str>,
    limit: u32,
) -> Question {
    let mut asking = Asking::new(shape, tenant);
    let mut condition = asking.condition(search);
    let id = name(&shape.table.id);
    if let Some(after) = after {
        let after = asking.bind(after.to_owned());
        condition += &format!(" AND t.{id} > {}", shape.cast(&after, &shape.table.id));
    }
    let sql = format!(
        "SELECT {} FROM {} WHERE {condition} ORDER BY t.{id} LIMIT {limit}",
        shape.id(),
        shape.target()
    );
    asking.question(sql)
}

/// Which of the records in so many rows the tenant has: parameters as in a change.
pub(super) fn there(shape: &Shape<'_>, count: usize) -> String {
    format!(
        "SELECT {} FROM {}, {} WHERE {}{}",
        shape.id(),
        shape.target(),
        shape.rows(&Rows { columns: &[], given: 0, same: 0, count }),
        shape.in_rows(),
        shape.alive()
    )
}

struct Asking<'a> {
    shape: &'a Shape<'a>,
    bound: Vec<String>,
}

impl<'a> Asking<'a> {
    fn new(shape: &'a Shape<'a>, tenant: &str) -> Self {
        Self { shape, bound: vec![tenant.to_owned()] }
    }

    fn bind(&mut self, text: String) -> String {
        self.bound.push(text);
        format!("${}", self.bound.len())
    }

    fn question(self, sql: String) -> Question {
        Question { sql, bound: self.bound }
    }

    fn condition(&mut self, search: &Search<'_>) -> String {
        let table = self.shape.table;
        let given = search.fields.keys().filter_map(|field| table.columns.get(field));
        let given: Vec<String> = given.cloned().collect();
        let deed = deeds::find(&search.action.deed);
        let deleted = deed.is_some_and(|deed| deed.reaches_deleted(table, &given));
        let alive = if deleted { String::new() } else { self.shape.alive() };
        let (of_tenant, holds) = (self.shape.of_tenant("$1"), self.holds(search.filter));
        format!("{of_tenant}{alive} AND {holds}")
    }

    fn holds(&mut self, filter: &Filter) -> String {
        match filter {
            Filter::And(parts) => self.all(parts, " AND "),
            Filter::Or(parts) => self.all(parts, " OR "),
            Filter::Field { name, test } => self.test(name, test),
        }
    }

    fn all(&mut self, parts: &[Filter], between: &str) -> String {
        let parts: Vec<_> = parts.iter().map(|part| self.holds(part)).collect();
        format!("({})", parts.join(between))
    }

    fn test(&mut self, field: &str, test: &Test) -> String {
        let column = self.shape.table.columns[field].clone();
        let quoted = format!("t.{}", name(&column));
        match test {
            Test::Equals(value) => format!("{quoted} = {}", self.value(field, &column, value)),
            Test::In(values) => {
                let values: Vec<_> = values.iter().map(|v| self.value(field, &column, v)).collect();
                format!("{quoted} IN ({})", values.join(", "))
            }
            Test::Range { from, to } => {
                let ends = [(">=", from), ("<=", to)];
                let given = ends.into_iter().filter_map(|(sign, end)| Some((sign, end.as_ref()?)));
                let parts: Vec<_> = given
                    .map(|(sign, end)| {
                        format!("{quoted} {sign} {}", self.value(field, &column, end))
                    })
                    .collect();
                format!("({})", parts.join(" AND "))
            }
            Test::Contains(part) => {
                // Not LIKE, which ignores case on SQLite and gives characters a meaning.
                let part = self.bind(part.clone());
                if self.shape.columns.lite {
                    format!("instr({quoted}, {part}) > 0")
                } else {
                    format!("strpos(CAST({quoted} AS text), {part}) > 0")
                }
            }
            Test::IsNull(true) => format!("{quoted} IS NULL"),
            Test::IsNull(false) => format!("{quoted} IS NOT NULL"),
        }
    }

    fn value(&mut self, field: &str, column: &str, value: &Value) -> String {
        let class = self.shape.columns.class(column);
        let cell = encode::cell(value, &self.shape.table.resource.fields[field], &class);
        let parameter = self.bind(encode::text(&cell));
        self.shape.cast(&parameter, column)
    }
}
