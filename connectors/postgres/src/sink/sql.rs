//! The text of every statement on a target table. Rows come as one array for each column, so that a statement is the
//! same for one row and for a thousand. All names are quoted (I12).
//!
//! `n3` is the new value of the target's column 3, `o0` the first value of the old key (or, without a key, of the old
//! row).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_sql::Absent;

use super::form::Form;
use super::names::{join, list};

/// A target table as the statements need it.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Its name with the schema, quoted.
    pub(super) table: String,
    /// The target's columns, in the target's order.
    pub(super) columns: Vec<ShapeColumn>,
    /// The key, as indexes into `columns`; empty without one.
    pub(super) key: Vec<usize>,
    /// It has partitions: a row's place is its partition too.
    pub(super) partitioned: bool,
}

/// A column of it.
#[derive(Debug, Clone)]
pub(super) struct ShapeColumn {
    /// Its name, quoted.
    pub(super) name: String,
    /// The form of its values in arrays.
    pub(super) form: Form,
    /// The form of its values in a binary COPY, when they have one.
    pub(super) copied: Option<Form>,
    /// What the value is made into, when the column's type is not the form's.
    pub(super) cast: Option<String>,
    /// Its type has an equality that tells all values apart; else their texts are compared.
    pub(super) comparable: bool,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    /// Inserts whole rows, or updates those that are there.
    Upsert,
    /// The same, where the rows are expected to be there: an update costs the server less than an insert that meets a
    /// row. Only for keys that are the same to the target when their values are.
    Renew,
    /// Inserts whole rows.
    Insert,
    /// Updates columns of rows that are there.
    Update,
    /// Inserts rows that are not there, with their key and some columns.
    Fill,
    /// Deletes rows by key.
    Delete,
    /// Deletes a row that stands where another is to be moved.
    Vacate,
    /// Moves a row to another key; a row that is not there is upserted (`true`: all columns are known).
    Move(bool),
    /// Updates columns of all rows.
    MarkAll,
    /// Updates one row that equals the old one.
    Replace(Absent),
    /// Deletes one row that equals the old one.
    DeleteRow,
    /// Gives rows by key.
    Find,
}

/// Where the values of a parameter come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    /// A column of the new row.
    New(usize),
    /// A value of the old key, by its place in the key.
    OldKey(usize),
    /// A column of the old row.
    OldRow(usize),
}

impl Shape {
    /// The parameters of a statement that sets `columns`, and its text.
    pub(super) fn statement(&self, verb: Verb, columns: &[usize]) -> (Vec<Param>, String) {
        let all = || (0..self.columns.len()).map(Param::New);
        let key = || self.key.iter().map(|at| Param::New(*at));
        let set = || columns.iter().map(|at| Param::New(*at));
        let old_key = || (0..self.key.len()).map(Param::OldKey);
        let old_row = || (0..self.columns.len()).map(Param::OldRow);
        let params: Vec<Param> = match verb {
            Verb::Upsert | Verb::Renew | Verb::Insert => all().collect(),
            Verb::Update | Verb::Fill => key().chain(set()).collect(),
            Verb::Delete | Verb::Find => old_key().collect(),
            Verb::Vacate => key().chain(old_key()).collect(),
            Verb::Move(true) => all().chain(old_key()).collect(),
            Verb::Move(false) => key().chain(set()).chain(old_key()).collect(),
            Verb::MarkAll => set().collect(),
            Verb::Replace(Absent::Insert) => all().chain(old_row()).collect(),
            Verb::Replace(_) => set().chain(old_row()).collect(),
            Verb::DeleteRow => old_row().collect(),
        };
        let rows = rows(&params);
        let sql = match verb {
            Verb::Upsert => format!("{} {}", self.insert(all(), &rows, ""), self.on_conflict(columns)),
            Verb::Renew => self.renew(columns, &rows),
            Verb::Insert => self.insert(all(), &rows, ""),
            Verb::Update => self.update(set(), &rows, &self.is_new("t")),
            Verb::Fill => self.fill(columns, &rows, ""),
            Verb::Delete => {
                format!("DELETE FROM {} AS t USING {rows} WHERE {}", self.table, self.is_old("t"))
            }
            Verb::Find => format!("{}, {rows} WHERE {}", self.select(), self.is_old("t")),
            Verb::Vacate => format!(
                "DELETE FROM {table} AS t USING {rows} WHERE {} AND NOT ({}) AND EXISTS (SELECT FROM {table} AS s WHERE {})",
                self.is_new("t"),
                self.is_old("t"),
                self.is_old("s"),
                table = self.table,
            ),
            Verb::Move(whole) => self.relocate(columns, &rows, whole),
            Verb::MarkAll => self.update(set(), &rows, "true"),
            Verb::Replace(Absent::Insert) => format!(
                "WITH hit AS ({} RETURNING 1) {}",
                self.update(set(), &rows, &self.is_old_row()),
                self.insert(all(), &rows, "WHERE NOT EXISTS (SELECT FROM hit)")
            ),
            Verb::Replace(_) => self.update(set(), &rows, &self.is_old_row()),
            Verb::DeleteRow => {
                format!("DELETE FROM {} AS t USING {rows} WHERE {}", self.table, self.is_old_row())
            }
        };
        (params, sql)
    }

    /// `COPY … FROM STDIN`, when every column has a binary form.
    pub(super) fn copy(&self) -> Option<String> {
        let names = self.columns.iter().map(|column| &column.name);
        self.columns
            .iter()
            .all(|column| column.copied.is_some())
            .then(|| format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.table, list(names)))
    }

    /// `SELECT` of all rows.
    pub(super) fn select(&self) -> String {
        let names = self.columns.iter().map(|column| format!("t.{}", column.name));
        format!("SELECT {} FROM {} AS t", list(names), self.table)
    }

    fn name(&self, at: usize) -> &str {
        self.columns.get(at).map_or("", |column| &column.name)
    }

    /// The value of a parameter as the column's type.
    fn value(&self, param: Param) -> String {
        let (alias, at) = match param {
            Param::New(at) => (format!("u.n{at}"), at),
            Param::OldKey(place) => (format!("u.o{place}"), self.key.get(place).copied().unwrap_or_default()),
            Param::OldRow(at) => (format!("u.o{at}"), at),
        };
        match self.columns.get(at).and_then(|column| column.cast.as_ref()) {
            Some(cast) => format!("{alias}::{cast}"),
            None => alias,
        }
    }

    fn insert(&self, params: impl Iterator<Item = Param> + Clone, rows: &str, condition: &str) -> String {
        let names = params.clone().map(|param| match param {
            Param::New(at) => self.name(at),
            _ => "",
        });
        // A column that numbers itself takes the source's number all the same.
        format!(
            "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {rows} {condition}",
            self.table,
            list(names),
            list(params.map(|param| self.value(param)))
        )
    }

    fn on_conflict(&self, columns: &[usize]) -> String {
        let key = list(self.key.iter().map(|at| self.name(*at)));
        let set = columns.iter().map(|at| format!("{0} = excluded.{0}", self.name(*at)));
        match columns {
            [] => format!("ON CONFLICT ({key}) DO NOTHING"),
            _ => format!("ON CONFLICT ({key}) DO UPDATE SET {}", list(set)),
        }
    }

    fn update(&self, set: impl Iterator<Item = Param>, rows: &str, condition: &str) -> String {
        let set = set.map(|param| match param {
            Param::New(at) => format!("{} = {}", self.name(at), self.value(param)),
            _ => String::new(),
        });
        format!("UPDATE {} AS t SET {} FROM {rows} WHERE {condition}", self.table, list(set))
    }

    fn fill(&self, columns: &[usize], rows: &str, condition: &str) -> String {
        let params = self.key.iter().chain(columns).map(|at| Param::New(*at));
        let missing = format!(
            "WHERE NOT EXISTS (SELECT FROM {} AS s WHERE {}) {condition}",
            self.table,
            self.is_new("s")
        );
        format!("{} {}", self.insert(params, rows, &missing), self.on_conflict(&[]))
    }

    /// The server looks at the count first, and at no row again when all were there.
    fn renew(&self, columns: &[usize], rows: &str) -> String {
        let all = (0..self.columns.len()).map(Param::New);
        let set = columns.iter().map(|at| Param::New(*at));
        let missing = format!(
            "WHERE (SELECT count(*) FROM found) < cardinality($1) AND NOT EXISTS (SELECT FROM {} AS s WHERE {})",
            self.table,
            self.is_new("s")
        );
        format!(
            "WITH found AS ({} RETURNING 1) {} {}",
            self.update(set, rows, &self.is_new("t")),
            self.insert(all, rows, &missing),
            self.on_conflict(columns)
        )
    }

    fn relocate(&self, columns: &[usize], rows: &str, whole: bool) -> String {
        let set = self.key.iter().chain(columns).map(|at| Param::New(*at));
        let moved = self.update(set, rows, &self.is_old("t"));
        let unless = "NOT EXISTS (SELECT FROM moved)";
        if whole {
            let all = (0..self.columns.len()).map(Param::New);
            let insert = self.insert(all, rows, &format!("WHERE {unless}"));
            return format!("WITH moved AS ({moved} RETURNING 1) {insert} {}", self.on_conflict(columns));
        }
        let changed = match columns {
            [] => String::new(),
            _ => {
                let set = columns.iter().map(|at| Param::New(*at));
                let condition = format!("{} AND {unless}", self.is_new("t"));
                format!(", changed AS ({} RETURNING 1)", self.update(set, rows, &condition))
            }
        };
        let fill = self.fill(columns, rows, &format!("AND {unless}"));
        format!("WITH moved AS ({moved} RETURNING 1){changed} {fill}")
    }

    /// The row with the new key.
    fn is_new(&self, alias: &str) -> String {
        let terms =
            self.key.iter().map(|at| format!("{alias}.{} = {}", self.name(*at), self.value(Param::New(*at))));
        join(" AND ", terms)
    }

    /// The row with the old key.
    fn is_old(&self, alias: &str) -> String {
        let terms =
            self.key.iter().enumerate().map(|(place, at)| {
                format!("{alias}.{} = {}", self.name(*at), self.value(Param::OldKey(place)))
            });
        join(" AND ", terms)
    }

    /// One row, and only one, that has the old row's values.
    fn is_old_row(&self) -> String {
        let terms = self.columns.iter().enumerate().map(|(at, column)| {
            let value = self.value(Param::OldRow(at));
            match column.comparable {
                true => format!("s.{} IS NOT DISTINCT FROM {value}", column.name),
                false => format!("s.{}::text IS NOT DISTINCT FROM {value}::text", column.name),
            }
        });
        let equal = join(" AND ", terms);
        match self.partitioned {
            false => format!("t.ctid = (SELECT s.ctid FROM {} AS s WHERE {equal} LIMIT 1)", self.table),
            true => format!(
                "(t.tableoid, t.ctid) = (SELECT s.tableoid, s.ctid FROM {} AS s WHERE {equal} LIMIT 1)",
                self.table
            ),
        }
    }
}

/// `unnest($1, $2) AS u(n0, o0)`.
fn rows(params: &[Param]) -> String {
    let marks = (1..=params.len()).map(|at| format!("${at}"));
    let names = params.iter().map(|param| match param {
        Param::New(at) => format!("n{at}"),
        Param::OldKey(at) | Param::OldRow(at) => format!("o{at}"),
    });
    format!("unnest({}) AS u({})", list(marks), list(names))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape() -> Shape {
        let column = |name: &str, cast: Option<&str>| ShapeColumn {
            name: name.to_owned(),
            form: Form::Text,
            copied: cast.is_none().then_some(Form::Text),
            cast: cast.map(str::to_owned),
            comparable: cast.is_none(),
        };
        Shape {
            table: r#""s"."t""#.into(),
            columns: vec![
                column(r#""a""#, None),
                column(r#""k""#, None),
                column(r#""p""#, Some(r#""pg_catalog"."point""#)),
            ],
            key: vec![1],
            partitioned: false,
        }
    }

    #[test]
    fn statements_by_key() {
        let sql = |verb, columns: &[usize]| shape().statement(verb, columns).1;
        assert_eq!(
            sql(Verb::Upsert, &[0, 2]),
            r#"INSERT INTO "s"."t" AS t ("a", "k", "p") OVERRIDING SYSTEM VALUE SELECT u.n0, u.n1, u.n2::"pg_catalog"."point" FROM unnest($1, $2, $3) AS u(n0, n1, n2)  ON CONFLICT ("k") DO UPDATE SET "a" = excluded."a", "p" = excluded."p""#
        );
        assert_eq!(
            sql(Verb::Update, &[2]),
            r#"UPDATE "s"."t" AS t SET "p" = u.n2::"pg_catalog"."point" FROM unnest($1, $2) AS u(n1, n2) WHERE t."k" = u.n1"#
        );
        assert_eq!(
            sql(Verb::Delete, &[]),
            r#"DELETE FROM "s"."t" AS t USING unnest($1) AS u(o0) WHERE t."k" = u.o0"#
        );
    }

    #[test]
    fn a_type_without_a_binary_form_is_not_copied() {
        assert_eq!(shape().copy(), None);
        let mut all = shape();
        all.columns.pop();
        assert_eq!(all.copy().unwrap(), r#"COPY "s"."t" ("a", "k") FROM STDIN (FORMAT binary)"#);
    }

    #[test]
    fn rows_without_a_key_are_compared_by_value_or_by_text() {
        let shape = Shape { key: Vec::new(), ..shape() };
        let sql = shape.statement(Verb::DeleteRow, &[]).1;
        assert!(sql.contains(r#"s."a" IS NOT DISTINCT FROM u.o0"#), "{sql}");
        assert!(
            sql.contains(r#"s."p"::text IS NOT DISTINCT FROM u.o2::"pg_catalog"."point"::text"#),
            "{sql}"
        );
    }
}
