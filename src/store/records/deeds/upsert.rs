//! Fields of records that are made when they are not there.

use super::{Deed, Fill, Rows, Shape, Table, insert, is_the_tenants, name, touched};

pub(super) struct Upsert;

impl Deed for Upsert {
    fn name(&self) -> &'static str {
        "upsert"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        let made = table.insert.iter().map(|(column, fill)| (column.clone(), fill.clone()));
        touched(table).chain(made).collect()
    }

    fn needs(&self, _table: &Table) -> &'static [&'static str] {
        &["SELECT", "INSERT", "UPDATE"]
    }

    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String {
        let touch = &shape.table.touch;
        let changes =
            rows.columns.iter().enumerate().filter(|(n, c)| *n < rows.given || touch.contains(c));
        let mut changes: Vec<_> =
            changes.map(|(_, column)| format!("{0} = excluded.{0}", name(column))).collect();
        if changes.is_empty() {
            // Nothing to change in a record that is there; said again, so that it is answered.
            changes.push(format!("{0} = excluded.{0}", name(&shape.table.id)));
        }
        format!(
            "{} DO UPDATE SET {} WHERE {}",
            insert(shape, rows),
            changes.join(", "),
            is_the_tenants(shape)
        )
    }
}
