//! Statements over declared tables. Names are quoted and come from declarations; values are bound.

use super::{
    Table,
    columns::{Class, Columns},
    fit,
};

/// A name as both databases take it, whatever is in it.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The name of a table, after its schema's.
pub(super) fn path(parts: &[String]) -> String {
    parts.iter().map(|part| name(part)).collect::<Vec<_>>().join(".")
}

/// A table and what it really is: the parts that statements are made of.
///
/// In a statement that changes records `$1` is the rows (JSON), `$2` the tenant. The table is always
/// called `t`, the rows `v`.
pub(super) struct Shape<'a> {
    pub(super) table: &'a Table,
    pub(super) columns: &'a Columns,
}

impl Shape<'_> {
    /// The table under its short name.
    pub(super) fn target(&self) -> String {
        format!("{} AS t", path(&self.table.path))
    }

    /// The rows: the tenant, the id, and columns of these names in their order.
    ///
    /// `LIMIT -1` and `OFFSET 0` keep them a table of their own, and the tenant is known from there alone:
    /// otherwise either database may walk over all records of the tenant, and over all rows for each.
    pub(super) fn rows(&self, names: &[String]) -> String {
        let all = std::iter::once((self.table.id.as_str(), "pr_id".to_owned()));
        let all = all.chain(names.iter().enumerate().map(|(n, name)| (name.as_str(), value(n))));
        let tenant = self.cast("$2", &self.table.tenant);
        if self.columns.lite {
            let read = |(_, called): (&str, String)| format!("value ->> '$.{called}' AS {called}");
            let list = all.map(read).collect::<Vec<_>>().join(", ");
            return format!(
                "(SELECT {tenant} AS pr_tenant, {list} FROM json_each($1) LIMIT -1) AS v"
            );
        }
        let read = |(name, called): (&str, String)| format!("{called} {}", self.type_of(name));
        let list = all.map(read).collect::<Vec<_>>().join(", ");
        format!(
            "(SELECT {tenant} AS pr_tenant, r.* \
             FROM json_to_recordset(CAST($1 AS json)) AS r({list}) OFFSET 0) AS v"
        )
    }

    fn type_of(&self, column: &str) -> &str {
        self.columns.by_name.get(column).map_or("text", |column| column.type_name.as_str())
    }

    /// A bound text as a value of a column.
    pub(super) fn cast(&self, parameter: &str, column: &str) -> String {
        if !self.columns.lite {
            return format!("CAST({parameter} AS {})", self.type_of(column));
        }
        match self.columns.class(column) {
            Class::Integer => format!("CAST({parameter} AS INTEGER)"),
            Class::Real | Class::Numeric => format!("CAST({parameter} AS NUMERIC)"),
            Class::Boolean => format!("({parameter} IN ('true', '1'))"),
            _ => parameter.to_owned(),
        }
    }

    /// The records of the tenant in this parameter.
    pub(super) fn of_tenant(&self, parameter: &str) -> String {
        let tenant = &self.table.tenant;
        format!("t.{} = {}", name(tenant), self.cast(parameter, tenant))
    }

    /// The records of the tenant that are in the rows.
    pub(super) fn in_rows(&self) -> String {
        let (tenant, id) = (name(&self.table.tenant), name(&self.table.id));
        format!("t.{tenant} = v.pr_tenant AND t.{id} = v.pr_id")
    }

    /// That a record is not deleted, after other conditions.
    pub(super) fn alive(&self) -> String {
        match &self.table.soft_delete {
            Some(column) => format!(" AND t.{} IS NULL", name(column)),
            None => String::new(),
        }
    }

    /// The id as a text.
    pub(super) fn id(&self) -> String {
        format!("CAST(t.{} AS TEXT)", name(&self.table.id))
    }

    /// The id as a text, of records that a statement has changed: there SQLite knows no short names.
    pub(super) fn changed_id(&self) -> String {
        match self.columns.lite {
            true => format!("CAST({} AS TEXT)", name(&self.table.id)),
            false => self.id(),
        }
    }

    /// Whether the id alone is the key.
    pub(super) fn is_found_by_id(&self) -> bool {
        fit::key(self.table, self.columns).is_some_and(|key| key.len() == 1)
    }

    /// The columns by which one record is found.
    pub(super) fn key(&self) -> String {
        let key = fit::key(self.table, self.columns).into_iter().flatten();
        key.map(|column| name(column)).collect::<Vec<_>>().join(", ")
    }
}

/// What the rows call column number `n`.
pub(super) fn value(n: usize) -> String {
    format!("pr_{n}")
}
