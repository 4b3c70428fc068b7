//! What a target table looks like now, as far as every system can say. What one system alone knows goes along as
//! [`Dialect::ColumnFacts`] and [`Dialect::TableFacts`].

use crate::dialect::Dialect;

/// What stands under a name in the target.
#[derive(Debug)]
pub enum Object<D: Dialect> {
    /// Nothing.
    Missing,
    /// A table.
    Table(Table<D>),
    /// A view or another thing that is no table, by the system's word for it.
    Other(String),
}

/// A table of the target.
#[derive(Debug)]
pub struct Table<D: Dialect> {
    /// Its columns, in their order.
    pub columns: Vec<TableColumn<D>>,
    /// The sets of columns that identify a row: the primary key, and every unique index over whole columns and all rows.
    pub unique: Vec<Vec<String>>,
    /// What only this system knows.
    pub facts: D::TableFacts,
}

/// A column of the target.
#[derive(Debug)]
pub struct TableColumn<D: Dialect> {
    /// Its name.
    pub name: String,
    /// Its type as declared, maybe empty.
    pub declared: String,
    /// A row must say it: NOT NULL, without a default, and not numbered by the system.
    pub required: bool,
    /// Computed by the system, cannot be written.
    pub generated: bool,
    /// What only this system knows.
    pub facts: D::ColumnFacts,
}

impl<D: Dialect> Table<D> {
    /// A column by its name.
    pub fn column(&self, dialect: &D, name: &str) -> Option<&TableColumn<D>> {
        self.columns.iter().find(|column| dialect.same_column(&column.name, name))
    }

    /// Whether rows are unique by exactly these columns, in any order, so that an upsert can name them.
    pub fn is_unique_by(&self, dialect: &D, key: &[&str]) -> bool {
        let holds = |set: &[String]| {
            set.len() == key.len()
                && key.iter().all(|name| set.iter().any(|other| dialect.same_column(other, name)))
        };
        self.unique.iter().any(|set| holds(set))
    }
}
