//! Stands in for the capture loop and the log: keeps what was read, confirms it, and knows the last position.

use connector_api::record::Record;
use connector_api::{Batch, BatchBuilder, Before, Change, Position, Result, Row, Source};
use connector_postgres::Options;
use std::time::Duration;

pub struct Capture {
    pub source: Box<dyn Source>,
    pub builder: BatchBuilder,
    pub batches: Vec<Batch>,
    pub position: Option<Position>,
    pub changes: Vec<String>,
}

impl Capture {
    pub async fn start(options: &Options, after: Option<&Position>) -> Result<Capture> {
        Self::start_with(options, after, 64 << 10).await
    }

    pub async fn start_with(options: &Options, after: Option<&Position>, limit: usize) -> Result<Capture> {
        let mut source = connector_postgres::source("shop", options)?;
        source.start(after).await?;
        let builder = BatchBuilder::new("shop", limit);
        Ok(Capture { source, builder, batches: Vec::new(), position: after.cloned(), changes: Vec::new() })
    }

    /// One read, taken and confirmed.
    pub async fn step(&mut self) -> Result<()> {
        let position = self.source.read(&mut self.builder).await?;
        let batch = self.builder.take(position.clone());
        self.changes.extend(show(&batch));
        self.batches.push(batch);
        if let Some(position) = position {
            self.source.confirm(&position).await?;
            self.position = Some(position);
        }
        Ok(())
    }

    /// Reads until there are `count` changes in all; gives up after 20 seconds.
    pub async fn until(&mut self, count: usize) {
        let all = async {
            while self.changes.len() < count {
                self.step().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), all).await.is_err() {
            panic!("{} changes of {count}: {:#?}", self.changes.len(), self.changes);
        }
    }

    pub async fn until_streaming(&mut self) {
        while self.source.status().phase != "streaming" || !self.source.status().caught_up {
            tokio::time::timeout(Duration::from_secs(20), self.step()).await.expect("streams").unwrap();
        }
    }

    /// The changes since the last call.
    pub fn drain(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changes)
    }

    pub async fn stop(self) -> Option<Position> {
        self.source.stop().await.unwrap();
        self.position
    }
}

/// Every change of a batch as a line, in the source's order: `public.users r key=[Int(1)] after=[Int(1), Text("a")]`.
pub fn show(batch: &Batch) -> Vec<String> {
    let mut found = Vec::new();
    for section in &batch.sections {
        let schema = section.schema.as_ref().unwrap();
        for record in section.records() {
            let record: Record<'_> = record.unwrap();
            let change = Change::decode(record, schema).unwrap();
            found.push((record.order, line(&section.topic.topic, &change)));
        }
    }
    found.sort();
    found.into_iter().map(|(_, line)| line).collect()
}

fn line(topic: &str, change: &Change<'_>) -> String {
    let values = |row: Row<'_>| format!("{:?}", row.to_vec().unwrap());
    let mut line = format!("{} {}", topic.strip_prefix("shop.").unwrap_or(topic), change.op.letter());
    if change.record.is_null() {
        line.push_str(" tombstone");
    }
    if let Some(key) = change.key() {
        line += &format!(" key={}", values(key));
    }
    match change.before {
        Some(Before::Key(row)) => line += &format!(" old={}", values(row)),
        Some(Before::Full(row)) => line += &format!(" before={}", values(row)),
        None => {}
    }
    if let Some(row) = change.after {
        line += &format!(" after={}", values(row));
    }
    line
}
