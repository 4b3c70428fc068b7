//! The text of statements that create and change target tables.

use connector_api::Target;

use crate::session::Server;
use crate::sql::{list, quote};
use crate::types::{Declared, charset, declared, declared_key};

/// A table that a topic is to be written to.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The mapping, worked out for the shape.
    pub target: &'a Target,
    /// Where it is to stand.
    pub server: &'a Server,
}

impl<'a> Wanted<'a> {
    /// The target's name, quoted.
    pub fn table(&self) -> String {
        quote(&self.target.table)
    }

    /// Name of a target column, unquoted.
    pub fn name(&self, at: usize) -> &'a str {
        self.target.name(at)
    }

    /// Names of the key in the target, unquoted, in key order.
    pub fn key(&self) -> Vec<&'a str> {
        self.target.key_names()
    }

    /// The declared type of a target column.
    pub fn declared(&self, at: usize) -> Declared {
        let Some(column) = self.target.column(at) else {
            return Declared { sql: "longtext".to_owned(), form: crate::form::Form::Other };
        };
        match self.target.key.contains(&at) {
            false => declared(column, self.server),
            true => {
                let key: Vec<_> = self.target.key.iter().filter_map(|at| self.target.column(*at)).collect();
                declared_key(column, &key, self.server)
            }
        }
    }

    /// A column as `CREATE TABLE` and `ALTER TABLE` have it.
    pub fn definition(&self, at: usize) -> String {
        let null = if self.target.key.contains(&at) { "NOT NULL" } else { "NULL" };
        format!("{} {} {null}", quote(self.name(at)), self.declared(at).sql)
    }

    /// The key's columns, quoted.
    pub fn key_list(&self) -> String {
        list(self.key().into_iter().map(quote))
    }

    /// `CREATE TABLE`.
    pub fn create_table(&self) -> String {
        let columns = (0..self.target.columns.len()).map(|at| self.definition(at));
        let primary = (!self.target.key.is_empty()).then(|| format!("PRIMARY KEY ({})", self.key_list()));
        format!(
            "CREATE TABLE {} ({}) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT {}",
            self.table(),
            list(columns.chain(primary)),
            charset(self.server)
        )
    }

    /// `ALTER TABLE … ADD COLUMN`.
    pub fn add_column(&self, at: usize) -> String {
        format!("ALTER TABLE {} ADD COLUMN {}", self.table(), self.definition(at))
    }

    /// `ALTER TABLE … MODIFY COLUMN`: to the type that the topic needs.
    pub fn retype(&self, at: usize) -> String {
        format!("ALTER TABLE {} MODIFY COLUMN {}", self.table(), self.definition(at))
    }

    /// `ALTER TABLE … ADD UNIQUE KEY` on the key.
    pub fn unique_index(&self) -> String {
        format!("ALTER TABLE {} ADD UNIQUE KEY ({})", self.table(), self.key_list())
    }
}
