//! Records that are made when they are not there, and otherwise left as they are.

use super::{Deed, Fill, Rows, Shape, Table, insert, is_the_tenants, name, touched};

pub(super) struct Ensure;

impl Deed for Ensure {
    fn name(&self) -> &'static str {
        "ensure"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        let made = table.insert.iter().map(|(column, fill)| (column.clone(), fill.clone()));
        touched(table).chain(made).collect()
    }

    fn needs(&self, _table: &Table) -> &'static [&'static str] {
        &["SELECT", "INSERT", "UPDATE"]
    }

    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String {
        format!(
            // The id is said again, so that a record that is there is answered like one that is made.
            "{} DO UPDATE SET {id} = excluded.{id} WHERE {}",
            insert(shape, rows),
            is_the_tenants(shape),
            id = name(&shape.table.id)
        )
    }
}
