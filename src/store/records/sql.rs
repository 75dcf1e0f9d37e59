//! Statements over declared tables. Names are quoted and come from declarations; values are bound.

use std::fmt::Write;

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

/// The rows of a statement.
pub(super) struct Rows<'a> {
    /// The columns that they have beside the id.
    pub(super) columns: &'a [String],
    /// How many of these, the first ones, were given.
    pub(super) given: usize,
    /// How many, the last ones, are the same in all rows.
    pub(super) same: usize,
    /// How many rows there are.
    pub(super) count: usize,
}

impl Rows<'_> {
    /// The columns of which each row has a value of its own.
    fn own(&self) -> &[String] {
        &self.columns[..self.columns.len() - self.same]
    }
}

/// A table and what it really is: the parts that statements are made of.
///
/// In a statement that changes records `$1` is the rows (JSON), `$2` the tenant, and what follows is the
/// same in all rows; SQLite counts as `batch::bind` says. The table is always called `t`, the rows `v`.
pub(super) struct Shape<'a> {
    pub(super) table: &'a Table,
    pub(super) columns: &'a Columns,
}

impl Shape<'_> {
    /// The table under its short name.
    pub(super) fn target(&self) -> String {
        format!("{} AS t", path(&self.table.path))
    }

    /// The rows: the tenant, the id, and their columns in their order.
    ///
    /// `LIMIT -1` and `OFFSET 0` keep them a table of their own, and the tenant is known from there alone:
    /// otherwise either database may walk over all records of the tenant, and over all rows for each.
    pub(super) fn rows(&self, rows: &Rows<'_>) -> String {
        if self.columns.lite { self.bound_rows(rows) } else { self.json_rows(rows) }
    }

    /// On SQLite, where to read JSON costs more than the change.
    fn bound_rows(&self, rows: &Rows<'_>) -> String {
        let (own, width) = (rows.own().len(), rows.own().len() + 1);
        let tenant = self.cast("?", &self.table.tenant);
        let mut sql = format!("(SELECT {tenant} AS pr_tenant, column1 AS pr_id");
        for n in 0..rows.columns.len() {
            // To write to a text does not fail.
            let _ = match n < own {
                true => write!(sql, ", column{} AS {}", n + 2, value(n)),
                false => write!(sql, ", ? AS {}", value(n)),
            };
        }
        let row = format!("({})", vec!["?"; width].join(","));
        let _ = write!(sql, " FROM (VALUES {}) LIMIT -1) AS v", vec![row; rows.count].join(","));
        sql
    }

    fn json_rows(&self, rows: &Rows<'_>) -> String {
        let tenant = self.cast("$2", &self.table.tenant);
        let own = rows.own();
        let all = std::iter::once((self.table.id.as_str(), "pr_id".to_owned()));
        let all = all.chain(own.iter().enumerate().map(|(n, name)| (name.as_str(), value(n))));
        let read = |(name, called): (&str, String)| format!("{called} {}", self.type_of(name));
        let list = all.map(read).collect::<Vec<_>>().join(", ");
        let same = (3..).zip(rows.columns.iter().enumerate().skip(own.len()));
        let same = same.map(|(at, (n, name))| {
            format!(", {} AS {}", self.cast(&format!("${at}"), name), value(n))
        });
        format!(
            "(SELECT {tenant} AS pr_tenant, r.*{} \
             FROM json_to_recordset(CAST($1 AS json)) AS r({list}) OFFSET 0) AS v",
            same.collect::<String>()
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
