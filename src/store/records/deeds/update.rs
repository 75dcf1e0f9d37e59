//! Fields of records that are there.

use super::{Deed, Fill, Shape, Table, assignments, touched};

pub(super) struct Update;

impl Deed for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        touched(table).collect()
    }

    fn statement(&self, shape: &Shape<'_>, columns: &[String], given: usize) -> String {
        // What says itself when a record was deleted reaches deleted ones, too: it may restore them.
        let restores =
            shape.table.soft_delete.as_ref().is_some_and(|soft| columns[..given].contains(soft));
        let alive = if restores { String::new() } else { shape.alive() };
        format!(
            "UPDATE {} SET {} FROM {} WHERE {}{alive}",
            shape.target(),
            assignments(columns),
            shape.rows(columns),
            shape.in_rows()
        )
    }
}
