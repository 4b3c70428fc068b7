//! How the changes of one topic, in one shape, become statements: worked out once, then reused for every change.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::Arc;

use connector_api::{Error, Result, Target, Value};

use crate::catalog::Table;
use crate::form::Form;
use crate::session::Server;
use crate::sql::{COLUMNS_MAX, check_name, check_table_name, list, quote};
use crate::types::is_exact;

/// The statements for one topic in one shape.
#[derive(Debug)]
pub struct Plan {
    /// Where its rows go; held so that its address stays its own.
    pub target: Arc<Target>,
    /// The table's name as the server's catalog has it.
    pub name: String,
    /// The same, quoted.
    pub table: String,
    /// Every target column.
    pub columns: Vec<PlanColumn>,
    /// Target columns that a row must say.
    required: Vec<usize>,
    /// Names that an error may show: columns and unique keys.
    names: Vec<String>,
    /// Tables that its foreign keys refer to, as the catalog has them.
    pub parents: Vec<String>,
    /// Most bytes of one statement.
    pub packet: usize,
}

/// A target column.
#[derive(Debug)]
pub struct PlanColumn {
    /// Its name, quoted.
    pub quoted: String,
    /// How it keeps values.
    pub form: Form,
    /// Texts are equal only when they are the same.
    exact: bool,
}

/// Checks what can be checked without the database.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub fn check_target(target: &Target) -> Result<()> {
    check_table_name(&target.table)?;
    if target.columns.is_empty() || target.columns.len() > COLUMNS_MAX {
        return Err(Error::config(format!(
            "map topic {} to table {:?}: {} columns, and InnoDB takes 1 to {COLUMNS_MAX}",
            target.topic,
            target.table,
            target.columns.len()
        ))
        .with_remedy("choose columns with `columns` in the rule"));
    }
    target.columns.iter().try_for_each(|(_, name)| check_name("column", name))
}

impl Plan {
    /// Works a plan out for a table that fits.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a column is not there.
    pub fn new(target: &Arc<Target>, table: &Table, server: &Server) -> Result<Plan> {
        let mut columns = Vec::with_capacity(target.columns.len());
        let mut required = Vec::new();
        for (at, (_, name)) in target.columns.iter().enumerate() {
            let found = table.column(name).ok_or_else(|| {
                Error::config(format!(
                    "map topic {} to table {:?}: no column {name:?}",
                    target.topic, target.table
                ))
            })?;
            if found.required {
                required.push(at);
            }
            columns.push(PlanColumn {
                quoted: quote(name),
                form: found.form,
                exact: is_exact(&found.collation),
            });
        }
        let keys = table.unique.iter().map(|(name, _)| name.clone());
        Ok(Plan {
            target: target.clone(),
            name: server.table_name(&target.table),
            table: quote(&target.table),
            columns,
            required,
            names: target.columns.iter().map(|(_, name)| name.clone()).chain(keys).collect(),
            parents: table.parents.clone(),
            packet: server.packet,
        })
    }

    /// Names that an error may show.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What is being done, for errors: table and key, by name.
    pub fn context(&self) -> String {
        match self.target.key.is_empty() {
            true => format!("apply change to table {:?} (no key)", self.target.table),
            false => {
                format!(
                    "apply change to table {:?} (key {})",
                    self.target.table,
                    self.target.key_names().join(", ")
                )
            }
        }
    }

    fn quoted(&self, at: usize) -> &str {
        self.columns.get(at).map_or("", |column| column.quoted.as_str())
    }

    /// Whether a row may be inserted with its key and these columns alone.
    pub fn may_insert(&self, columns: &[usize]) -> bool {
        self.required.iter().all(|at| columns.contains(at) || self.target.key.contains(at))
    }

    /// The key's columns, then `columns`.
    pub fn with_key(&self, columns: &[usize]) -> Vec<usize> {
        self.target.key.iter().chain(columns).copied().collect()
    }

    /// `INSERT INTO … (…) VALUES `.
    pub fn insert_head(&self, columns: &[usize]) -> String {
        let names = list(columns.iter().map(|at| self.quoted(*at).to_owned()));
        format!("INSERT INTO {} ({names}) VALUES ", self.table)
    }

    /// ` ON DUPLICATE KEY UPDATE …`, which sets `columns` of the row with the same key, and of no other.
    ///
    /// MySQL takes a row that has the value of any unique key for the same row. So the key of the row that it found is
    /// compared first: when it is another's, the key becomes NULL, which it cannot be (error 1048), and the statement has
    /// no effect.
    pub fn upsert_tail(&self, columns: &[usize]) -> String {
        let guards = self.target.key.iter().map(|at| {
            let name = self.quoted(*at);
            format!("{name} = IF({name} <=> VALUES({name}), {name}, NULL)")
        });
        let sets = columns.iter().filter(|at| !self.target.key.contains(at)).map(|at| {
            let name = self.quoted(*at);
            format!("{name} = VALUES({name})")
        });
        format!(" ON DUPLICATE KEY UPDATE {}", list(guards.chain(sets)))
    }

    /// `DELETE FROM … WHERE key IN (`, or another verb before the same condition.
    pub fn where_key_in(&self, verb: &str) -> String {
        match self.target.key.as_slice() {
            [only] => format!("{verb} WHERE {} IN (", self.quoted(*only)),
            key => {
                format!("{verb} WHERE ({}) IN (", list(key.iter().map(|at| self.quoted(*at).to_owned())))
            }
        }
    }

    /// Appends `(…, …)`: these columns of a row of all target columns.
    #[inline]
    pub fn put_tuple(&self, out: &mut String, columns: &[usize], values: &[Value<'_>]) -> Result<()> {
        let mut separator = '(';
        for at in columns {
            out.push(separator);
            separator = ',';
            self.put_value(out, *at, values.get(*at).copied())?;
        }
        out.push(')');
        Ok(())
    }

    fn put_value(&self, out: &mut String, at: usize, value: Option<Value<'_>>) -> Result<()> {
        let (Some(column), Some(value)) = (self.columns.get(at), value) else {
            return Err(Error::corrupt("write row: fewer values than columns"));
        };
        column
            .form
            .put(out, value)
            .map_err(|error| error.within(format_args!("column {:?}", self.target.name(at))))
    }

    /// Appends a key for `IN (…)`; its values are in key order.
    pub fn put_key(&self, out: &mut String, key: &[Value<'_>]) -> Result<()> {
        let tuple = self.target.key.len() > 1;
        for (place, at) in self.target.key.iter().enumerate() {
            out.push_str(match (place, tuple) {
                (0, true) => "(",
                (0, false) => "",
                _ => ",",
            });
            self.put_value(out, *at, key.get(place).copied())?;
        }
        if tuple {
            out.push(')');
        }
        Ok(())
    }

    /// Appends ` WHERE k = … AND …`; the values are in key order.
    pub fn put_where_key(&self, out: &mut String, key: &[Value<'_>]) -> Result<()> {
        for (place, at) in self.target.key.iter().enumerate() {
            out.push_str(if place == 0 { " WHERE " } else { " AND " });
            out.push_str(self.quoted(*at));
            out.push_str(" = ");
            self.put_value(out, *at, key.get(place).copied())?;
        }
        Ok(())
    }

    /// Appends `a = …, b = …`.
    pub fn put_sets(&self, out: &mut String, columns: &[usize], values: &[Value<'_>]) -> Result<()> {
        for (place, at) in columns.iter().enumerate() {
            if place > 0 {
                out.push_str(", ");
            }
            out.push_str(self.quoted(*at));
            out.push_str(" = ");
            self.put_value(out, *at, values.get(*at).copied())?;
        }
        Ok(())
    }

    /// Appends ` WHERE a <=> … AND …` over every column: the whole old row, to the byte.
    pub fn put_where_row(&self, out: &mut String, values: &[Value<'_>]) -> Result<()> {
        for (at, column) in self.columns.iter().enumerate() {
            out.push_str(if at == 0 { " WHERE " } else { " AND " });
            let name = column.quoted.as_str();
            match column.form {
                // Case, and blanks at the end, count.
                Form::Text { .. } | Form::Other if !column.exact => {
                    out.push_str(&format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> CAST("));
                    self.put_value(out, at, values.get(at).copied())?;
                    out.push_str(" AS BINARY)");
                    continue;
                }
                Form::Json => {
                    out.push_str(name);
                    out.push_str(" <=> CAST(");
                    self.put_value(out, at, values.get(at).copied())?;
                    out.push_str(" AS JSON)");
                    continue;
                }
                _ => out.push_str(name),
            }
            out.push_str(" <=> ");
            self.put_value(out, at, values.get(at).copied())?;
        }
        Ok(())
    }

    /// The values of the key out of a row of all target columns, in key order.
    pub fn key_of<'v>(&self, values: &[Value<'v>]) -> Vec<Value<'v>> {
        self.target.key.iter().filter_map(|at| values.get(*at).copied()).collect()
    }
}
