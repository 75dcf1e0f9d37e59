//! Fields of records that are there.

use super::{Deed, Fill, Rows, Shape, Table, assignments, touched};

pub(super) struct Update;

impl Deed for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        touched(table).collect()
    }

    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String {
        // What says itself when a record was deleted reaches deleted ones, too: it may restore them.
        let restores = shape
            .table
            .soft_delete
            .as_ref()
            .is_some_and(|soft| rows.columns[..rows.given].contains(soft));
        let alive = if restores { String::new() } else { shape.alive() };
        format!(
            "UPDATE {} SET {} FROM {} WHERE {}{alive}",
            shape.target(),
            assignments(rows.columns),
            shape.rows(rows),
            shape.in_rows()
        )
    }
}
