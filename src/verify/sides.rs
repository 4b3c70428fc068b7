//! The two sides of a comparison: what the sink should hold, by its own rules, and what it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use connector_api::reader::put_varint;
use connector_api::record::{Attributes, Record};
use connector_api::{
    BoxFuture, Change, Cursor, Error, Incoming, LogId, Op, Result, Row, Rows, Sink, TopicPartition,
    Transaction, Value,
};

use crate::pipeline::mapping::Mapping;
use crate::pipeline::shape::{Captured, Shaper};
use crate::verify::kept::Kept;
use crate::verify::tables::{Feed, Sources, Table};

/// Rows between two words to whoever shows the progress.
const TELL_EVERY: u64 = 1_024;

/// A row that the sink should hold, or holds.
pub struct Found<'f> {
    /// As the sink keeps it.
    pub kept: &'f Kept,
    /// On the source's side: which feed of the table it comes from, and its key there.
    pub origin: Option<(usize, &'f [u8])>,
}

/// Takes one row.
pub type Take<'t> = dyn FnMut(&Found<'_>) -> Result<()> + Send + 't;

/// What the sink should hold: the rows of the sources, passed through the rules.
pub struct Expected {
    pub(super) sources: Sources,
    mapping: Mapping,
    keeper: Box<dyn Rows>,
    /// Rows read so far.
    pub rows: Arc<AtomicU64>,
}

impl Expected {
    pub(super) fn new(sources: Sources, mapping: Mapping, keeper: Box<dyn Rows>) -> Expected {
        Expected { sources, mapping, keeper, rows: Arc::default() }
    }

    /// Every row.
    ///
    /// # Errors
    /// When a source cannot be read, or a rule fails.
    pub async fn scan(&mut self, table: &Table, take: &mut Take<'_>) -> Result<()> {
        for feed in 0..table.feeds.len() {
            self.feed(table, feed, None, take).await?;
        }
        Ok(())
    }

    /// The rows of one feed with these keys of the source; all, without keys.
    pub(super) async fn feed(
        &mut self,
        table: &Table,
        at: usize,
        keys: Option<&[Vec<u8>]>,
        take: &mut Take<'_>,
    ) -> Result<()> {
        let Some(feed) = table.feeds.get(at) else { return Ok(()) };
        let Some(source) = self.sources.get_mut(&feed.source) else { return Ok(()) };
        let mut shaper = Shaper::new(self.mapping.clone());
        let topic = TopicPartition { topic: feed.original.topic.clone(), partition: 0 };
        let mut collector = Collector {
            table,
            feed,
            at,
            keeper: &mut *self.keeper,
            kept: Kept::default(),
            key: Vec::new(),
            take,
        };
        let rows = &self.rows;
        let (mut count, mut key) = (0, Vec::new());
        let keyed = !feed.original.schema.key.is_empty();
        let mut each = |row: Row<'_>| {
            count += 1;
            if count % TELL_EVERY == 0 {
                rows.fetch_add(TELL_EVERY, Ordering::Relaxed);
            }
            put_key(&mut key, row, &feed.original.schema.key)?;
            collector.key.clone_from(&key);
            let record = Record {
                offset: 0,
                order: 0,
                attributes: Attributes(if keyed { Attributes::KEY } else { 0 }),
                headers: &[],
                value: row.as_bytes(),
                key: keyed.then_some(&*key),
            };
            let change = Change {
                schema: &feed.original.schema,
                record,
                op: Op::Read,
                before: None,
                after: Some(row),
            };
            let captured = Captured { topic: &topic, transaction: Transaction::default(), change };
            shaper.apply(&captured, &mut collector)
        };
        match keys {
            Some(keys) => source.find(&feed.original, keys, &mut each).await?,
            None => source.scan(&feed.original, &mut each).await?,
        }
        rows.fetch_add(count % TELL_EVERY, Ordering::Relaxed);
        Ok(())
    }
}

/// The key of a row, encoded: all its values where there is no key.
fn put_key(out: &mut Vec<u8>, row: Row<'_>, key: &[usize]) -> Result<()> {
    out.clear();
    put_varint(out, key.len() as u64);
    match key {
        [] => Ok(()),
        // The usual key is one of the first columns.
        [one] => {
            let value = row.values().nth(*one).ok_or_else(|| Error::corrupt("read row: no key"))?;
            value?.encode(out);
            Ok(())
        }
        many => {
            let values = row.to_vec()?;
            many.iter().filter_map(|at| values.get(*at)).for_each(|value| value.encode(out));
            Ok(())
        }
    }
}

/// A sink that takes what the rules make of a row.
struct Collector<'c, 't> {
    table: &'c Table,
    feed: &'c Feed,
    at: usize,
    keeper: &'c mut dyn Rows,
    kept: Kept,
    /// The key of the row at hand.
    key: Vec<u8>,
    take: &'c mut Take<'t>,
}

impl Sink for Collector<'_, '_> {
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Incoming { change, target, .. } = incoming;
        // A topic may go to several tables; a row that the rules leave out comes as a delete, or not at all.
        let (Some(after), true) = (change.after, target.table == self.table.target.table) else {
            return Ok(());
        };
        if !matches!(change.op, Op::Insert | Op::Update | Op::Read) {
            return Ok(());
        }
        let values = after.to_vec()?;
        let value = |place: &Option<usize>| {
            let column = place.and_then(|place| target.columns.get(place));
            Ok(column.and_then(|(at, _)| values.get(*at)).copied().unwrap_or(Value::Null))
        };
        self.kept.fill(&self.table.target, &mut *self.keeper, self.feed.places.iter().map(value))?;
        (self.take)(&Found { kept: &self.kept, origin: Some((self.at, &self.key)) })
    }

    fn start(&mut self, _: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async { Ok(None) })
    }

    fn commit<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reset<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

/// What the sink holds.
pub struct Actual {
    rows: Option<Box<dyn Rows>>,
    keeper: Option<Box<dyn Rows>>,
}

impl Actual {
    pub(super) fn new(rows: Box<dyn Rows>, keeper: Box<dyn Rows>) -> Actual {
        Actual { rows: Some(rows), keeper: Some(keeper) }
    }

    /// Reads every row, or those with these keys, on a thread of its own, because a sink's reader may block. The
    /// thread works from now on; the future only waits for it.
    ///
    /// # Errors
    /// When the sink cannot be read.
    pub fn read<S: Send + 'static>(
        &mut self,
        table: &Arc<Table>,
        keys: Option<Vec<Vec<u8>>>,
        mut state: S,
        take: impl Fn(&mut S, &Found<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<impl Future<Output = Result<S>>> {
        let gone = || Error::transient("read the sink: an earlier read failed");
        let mut rows = self.rows.take().ok_or_else(gone)?;
        let mut keeper = self.keeper.take().ok_or_else(gone)?;
        let table = table.clone();
        let handle = crate::pipeline::spawn("verify-sink".to_owned(), move || async move {
            let mut kept = Kept::default();
            let mut each = |row: Row<'_>| {
                kept.fill(&table.target, &mut *keeper, row.values())?;
                take(&mut state, &Found { kept: &kept, origin: None })
            };
            let read = match &keys {
                None => rows.scan(&table.target, &mut each).await,
                Some(keys) if keys.is_empty() => Ok(()),
                Some(keys) => rows.find(&table.target, keys, &mut each).await,
            };
            read.map(|()| (rows, keeper, state))
        })?;
        Ok(async move {
            let joined = tokio::task::spawn_blocking(move || handle.join()).await;
            let ended = || Error::transient("read the sink: the thread ended; see the message above");
            let (rows, keeper, state) = joined.map_err(|_| ended())?.map_err(|_| ended())??;
            (self.rows, self.keeper) = (Some(rows), Some(keeper));
            Ok(state)
        })
    }
}
