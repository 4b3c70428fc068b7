//! The rows as the server has them now, for whoever compares copies with them. Reads only, in transactions of its own.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::{Catalog, Table};
use crate::changes::{Plan, Scratch};
use crate::connection::{Connection, Purpose};
use crate::keys;
use crate::options::Checked;
use connector_api::{BoxFuture, Each, Error, Original, Originals, Result, Row, Rows, Target};
use std::sync::Arc;

/// How long a look-up by keys may take. Scans take as long as tables are large.
const FIND_TIMEOUT: &str = "60s";

/// The captured tables of one database.
pub(crate) struct Tables {
    options: Arc<Checked>,
    catalog: Option<Catalog>,
    connection: Option<Connection>,
    known: Vec<(Arc<Target>, Table, Plan)>,
}

impl Tables {
    pub(crate) fn new(options: Checked) -> Tables {
        Tables { options: Arc::new(options), catalog: None, connection: None, known: Vec::new() }
    }

    async fn read_tables(&mut self) -> Result<Vec<Original>> {
        let catalog = match &mut self.catalog {
            Some(catalog) => catalog,
            none => none.insert(Catalog::open(self.options.clone()).await?),
        };
        let mut found = Vec::new();
        self.known.clear();
        for table in catalog.published().await? {
            let shape = catalog.describe(&table).await?;
            let target = Arc::new(Target::whole(&shape.topic, &shape.schema));
            found.push(Original { target: target.clone(), rows_estimated: table.rows });
            self.known.push((target, table, Plan::new(shape)));
        }
        Ok(found)
    }

    async fn copy(&mut self, target: &Target, wanted: Option<&[Vec<u8>]>, each: &mut Each<'_>) -> Result<()> {
        if self.known.is_empty() {
            self.read_tables().await?;
        }
        let known = self.known.iter().find(|(known, ..)| known.topic == target.topic);
        let Some((known, table, plan)) = known else {
            return Err(Error::config(format!(
                "read rows of {}: the source captures no such table",
                target.topic
            )));
        };
        if known.schema != target.schema {
            return Err(Error::transient(format!("read rows of {}: its shape has changed", target.topic)));
        }
        let sql = keys::copy(table, &known.schema, wanted)?;
        let doing = format!("read rows of {}", table.full_name());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.options.target, Purpose::Sql).await?,
        };
        let timeout = if wanted.is_some() { FIND_TIMEOUT } else { "0" };
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{timeout}'"
        );
        connection.query(&doing, &begin).await?;
        connection.copy_out(&doing, &sql).await?;
        let (mut row, mut scratch) = (Vec::new(), Scratch::default());
        while let Some(line) = connection.copied(&doing).await? {
            plan.line_row(line, &mut row, &mut scratch)?;
            each(Row::from_bytes(&row))?;
        }
        connection.query(&doing, "COMMIT").await?;
        // Left in the middle of a transaction, by an error, it is of no more use.
        self.connection = Some(connection);
        Ok(())
    }
}

impl Rows for Tables {
    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.copy(target, None, each))
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match keys {
                [] => Ok(()),
                keys => self.copy(target, Some(keys), each).await,
            }
        })
    }
}

impl Originals for Tables {
    fn tables(&mut self) -> BoxFuture<'_, Result<Vec<Original>>> {
        Box::pin(self.read_tables())
    }
}
