//! Reads rows back, for a comparison with the source: by COPY for a whole table, by key for single rows.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use connector_api::erasure::{EachHeld, Step};
use connector_api::reader::put_varint;
use connector_api::{BoxFuture, Each, Error, Finding, Kind, Result, Row, Rows, Target, Value, ValueKind};
use connector_sql::Object;
use connector_sql::erase::{Column, Search, examine};
use connector_sql::names::check_target;

use super::catalog;
use super::connect;
use super::dialect::Sql;
use super::erase;
use super::form::List;
use super::options::Options;
use super::plan::Plan;
use super::session::Session;
use super::sql::Verb;
use crate::changes::unescape;
use crate::types::Reading;

/// Keys of one query.
const KEYS_MAX: usize = 500;
/// Rows of a subject that are fetched at a time.
const HELD_ROWS: usize = 200;

/// The rows of a sink's tables, over a connection of its own.
pub(super) struct Reader {
    options: Options,
    session: Option<Session>,
}

impl Reader {
    pub(super) fn new(options: Options) -> Reader {
        Reader { options, session: None }
    }

    async fn session(&mut self) -> Result<&mut Session> {
        if self.session.is_none() {
            self.session = Some(connect::open(&Options { replica: false, ..self.options.clone() }).await?);
        }
        self.session.as_mut().ok_or_else(|| Error::transient("read rows: there is no connection"))
    }

    /// How the table is read; `None` when it does not exist.
    async fn plan(&mut self, target: &Target) -> Result<Option<Plan>> {
        let sql = Sql { schema: self.options.schema.clone() };
        check_target(&sql, target)?;
        match catalog::read(self.session().await?, &sql.schema, &target.table).await? {
            Object::Missing => Ok(None),
            Object::Table(table) => Ok(Some(Plan::new(&Arc::new(target.clone()), &sql, &table)?)),
            Object::Other(kind) => {
                Err(Error::config(format!("read rows of table {:?}: it is a {kind}", target.table)))
            }
        }
    }

    async fn scanned(&mut self, target: &Target, each: &mut Each<'_>) -> Result<()> {
        let Some(plan) = self.plan(target).await? else { return Ok(()) };
        let doing = format!("read rows of table {:?}", target.table);
        let mut cells = Cells::of(target);
        let session = self.session().await?;
        session.copy_out(&doing, &format!("COPY ({}) TO STDOUT", plan.select())).await?;
        let mut field = Vec::new();
        while let Some(line) = session.copied(&doing).await? {
            cells.begin();
            for text in line.split(|byte| *byte == b'\t') {
                if text == b"\\N" {
                    cells.push(None)?;
                    continue;
                }
                match memchr::memchr(b'\\', text) {
                    None => cells.push(Some(text))?,
                    Some(_) => {
                        unescape(text, &mut field);
                        cells.push(Some(field.as_slice()))?;
                    }
                }
            }
            each(cells.row(&doing)?)?;
        }
        Ok(())
    }

    async fn found(&mut self, target: &Target, keys: &[Vec<u8>], each: &mut Each<'_>) -> Result<()> {
        if target.key.is_empty() {
            return Err(Error::config(format!(
                "read rows of table {:?}: topic {} has no key",
                target.table, target.topic
            )));
        }
        let Some(mut plan) = self.plan(target).await? else { return Ok(()) };
        let doing = format!("read rows of table {:?}", target.table);
        let mut cells = Cells::of(target);
        let bound = plan.bound(Verb::Find, &[]);
        for keys in keys.chunks(KEYS_MAX) {
            let mut lists: Vec<List> = bound.params.iter().map(|_| List::default()).collect();
            for key in keys {
                let mut values = Row::from_bytes(key).values();
                for (param, list) in bound.params.iter().zip(&mut lists) {
                    let value =
                        values.next().ok_or_else(|| Error::corrupt("read rows: a key is too short"))??;
                    list.push(&param.form, value)?;
                }
            }
            let session = self.session().await?;
            session.execute(&bound.statement, |out| {
                bound.params.iter().zip(&lists).try_for_each(|(param, list)| list.put(out, param.element))
            })?;
            let answer = session.answer().await?;
            if let Some(failed) = answer.failed {
                return Err(super::failure::failed(&doing, &failed));
            }
            for row in answer.rows {
                cells.begin();
                for text in &row {
                    cells.push(text.as_ref().map(|text| text.as_bytes()))?;
                }
                each(cells.row(&doing)?)?;
            }
        }
        Ok(())
    }
}

/// The steps of an erasure.
impl Reader {
    fn sql(&self) -> Sql {
        Sql { schema: self.options.schema.clone() }
    }

    async fn held_all(&mut self, step: &Step, each: &mut EachHeld<'_>) -> Result<()> {
        let sql = self.sql();
        let session = self.session().await?;
        let tables = erase::look(session, &sql.schema, step, false).await?;
        let Some(search) = Search::new(&sql, step, &tables)? else { return Ok(()) };
        let doing = format!("read rows of table {:?}", step.table);
        let mut held = search.held()?;
        held.sql = format!("DECLARE held NO SCROLL CURSOR FOR {}", held.sql);
        session.query(&doing, "BEGIN READ ONLY").await?;
        erase::run(session, step, held).await?;
        loop {
            let rows = session.query(&doing, &format!("FETCH {HELD_ROWS} FROM held")).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let cells = search.columns().iter().zip(row);
                let cell = |(column, cell): (&Column<erase::Facts>, Option<String>)| {
                    (column.name.clone(), column.facts.json(cell))
                };
                each(cells.map(cell).collect())?;
            }
        }
        session.query(&doing, "COMMIT").await.map(drop)
    }

    async fn left_now(&mut self, step: &Step) -> Result<u64> {
        let sql = self.sql();
        erase::left(self.session().await?, &sql, step).await
    }

    async fn examined(&mut self, step: &Step) -> Result<Vec<Finding>> {
        let sql = self.sql();
        let session = self.session().await?;
        let tables = erase::look(session, &sql.schema, step, true).await?;
        let mut findings = examine(&sql, step, &tables);
        findings.extend(erase::unreadable(session, step, &tables).await?);
        Ok(findings)
    }

    /// After an error another session is made: this one may stand anywhere.
    fn keep_session<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.session = None;
        }
        result
    }
}

impl Rows for Reader {
    /// Bytes are shown as `\x` and hexadecimal digits.
    fn held<'a>(&'a mut self, step: &'a Step, each: &'a mut EachHeld<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.held_all(step, each).await;
            self.keep_session(result)
        })
    }

    fn left<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let result = self.left_now(step).await;
            self.keep_session(result)
        })
    }

    fn examine<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(async move {
            let result = self.examined(step).await;
            self.keep_session(result)
        })
    }

    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.scanned(target, each).await;
            if result.is_err() {
                // It may stand in the middle of a table.
                self.session = None;
            }
            result
        })
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.found(target, keys, each).await;
            if result.is_err() {
                self.session = None;
            }
            result
        })
    }
}

/// One row on its way into the kinds of the target's schema.
struct Cells {
    readings: Vec<Reading>,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    count: usize,
}

impl Cells {
    fn of(target: &Target) -> Cells {
        let reading = |at| {
            let (kind, element) =
                target.column(at).map_or((ValueKind::Text, None), |column| (column.kind, column.element));
            match kind {
                ValueKind::Array => {
                    let boxed = target.column(at).is_some_and(|column| column.type_name == "box[]");
                    Reading::Array {
                        element: Box::new(reading(element.unwrap_or(ValueKind::Text))),
                        delimiter: if boxed { b';' } else { b',' },
                    }
                }
                kind => reading(kind),
            }
        };
        let readings = (0..target.columns.len()).map(reading).collect();
        Cells { readings, bytes: Vec::new(), scratch: Vec::new(), count: 0 }
    }

    fn begin(&mut self) {
        self.bytes.clear();
        self.count = 0;
        put_varint(&mut self.bytes, self.readings.len() as u64);
    }

    fn push(&mut self, text: Option<&[u8]>) -> Result<()> {
        let reading =
            self.readings.get(self.count).ok_or_else(|| Error::corrupt("read rows: too many columns"))?;
        self.count += 1;
        match text {
            None => Value::Null.encode(&mut self.bytes),
            // What is no value of its kind shows as text: it is different from any value of the source, and says so.
            Some(text) => match reading.read(text, &mut self.scratch) {
                Ok(value) => value.encode(&mut self.bytes),
                Err(error) if error.kind() == Kind::Data => {
                    Value::Text(&String::from_utf8_lossy(text)).encode(&mut self.bytes);
                }
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn row(&self, doing: &str) -> Result<Row<'_>> {
        match self.count == self.readings.len() {
            true => Ok(Row::from_bytes(&self.bytes)),
            false => Err(Error::corrupt(format!("{doing}: a row of {} columns", self.count))),
        }
    }
}

fn reading(kind: ValueKind) -> Reading {
    match kind {
        ValueKind::Bool => Reading::Bool,
        ValueKind::Int => Reading::Int,
        ValueKind::Float => Reading::Float,
        ValueKind::Decimal => Reading::Decimal,
        ValueKind::Text | ValueKind::Array => Reading::Text,
        ValueKind::Bytes => Reading::Bytes,
        ValueKind::Uuid => Reading::Uuid,
        ValueKind::Date => Reading::Date,
        ValueKind::Time => Reading::Time,
        ValueKind::Timestamp => Reading::Timestamp,
        ValueKind::TimestampTz => Reading::TimestampTz,
        ValueKind::Json => Reading::Json,
    }
}
