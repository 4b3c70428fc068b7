//! Deleting one row in the source, for whoever is asked to erase a person there, too.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::Catalog;
use crate::connection::{Connection, Purpose, identifier, literal};
use crate::options::Checked;
use connector_api::{Error, Result};
use std::sync::Arc;

/// How long the statement may take, waiting for locks included.
const TIMEOUT: &str = "60s";

/// Deletes the rows of the table of `topic` whose column has this value. The server reads the text as the column's type.
///
/// # Errors
/// [`connector_api::Kind::Config`] when no such table or column is captured; what the server says. The value is personal and
/// in no error.
pub(crate) async fn delete(options: Checked, topic: &str, column: &str, value: &str) -> Result<u64> {
    let options = Arc::new(options);
    let missing = || Error::config(format!("delete row of {topic}: no such column {column:?} is captured"));
    if value.contains('\0') {
        return Err(Error::config(format!("delete row of {topic}: a key holds no zero byte")));
    }
    let mut catalog = Catalog::open(options.clone()).await?;
    let mut found = None;
    for table in catalog.published().await? {
        let shape = catalog.describe(&table).await?;
        if *shape.topic == *topic {
            found = Some((table, shape));
        }
    }
    let (table, shape) = found.ok_or_else(missing)?;
    let at = shape.schema.column(column).ok_or_else(missing)?;
    let kind = shape.schema.columns.get(at).map(|column| column.type_name.as_str()).ok_or_else(missing)?;
    // The type's name comes from `format_type`, which quotes it.
    let sql = format!(
        "WITH gone AS (DELETE FROM {} WHERE {} = {}::{kind} RETURNING 1) SELECT count(*) FROM gone",
        table.sql_name(),
        identifier(column),
        literal(value),
    );
    let doing = format!("delete row of {}", table.full_name());
    let mut connection = Connection::open(&options.target, Purpose::Sql).await?;
    connection.query(&doing, &format!("SET statement_timeout = '{TIMEOUT}'")).await?;
    let rows = connection.query(&doing, &sql).await?;
    let count = rows.first().and_then(|row| row.first()).and_then(Option::as_ref);
    let count = count.and_then(|text| text.parse().ok());
    count.ok_or_else(|| Error::corrupt(format!("{doing}: the server gave no number")))
}
