//! What a reader of the log gets: the sections of one durable batch that it subscribed to, merged back into the order
//! in which the source committed them.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Section, Transaction, Transactions};
use crate::error::{Error, Result};
use crate::position::{Cursor, LogId};
use crate::record::{Record, Records};

/// Part of one batch. Cheap to clone: payloads are shared.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The log it was read from.
    pub log: LogId,
    /// Number of the batch in the log's journal; grows.
    pub sequence: u64,
    /// Who wrote the batch.
    pub producer: Arc<str>,
    /// The first transaction began in an earlier delivery.
    pub continued: bool,
    /// The last transaction goes on in a later delivery: a transactional sink must not commit after this one.
    pub continues: bool,
    /// The batch's transactions.
    pub transactions: Bytes,
    /// Sections of the subscribed topics; may be empty when a chunk of a transaction holds nothing of them.
    pub sections: Vec<Section>,
}

/// A record with what surrounds it.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    /// The section it came from: topic, schema, encoding.
    pub section: &'a Section,
    /// The source transaction that it belongs to.
    pub transaction: Transaction<'a>,
    /// The record.
    pub record: Record<'a>,
}

impl Delivery {
    /// Bytes of all payloads.
    pub fn len(&self) -> usize {
        self.sections.iter().map(|section| section.payload.len()).sum()
    }

    /// True when no section is subscribed to.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Moves `cursor` past everything in this delivery.
    pub fn advance(&self, cursor: &mut Cursor) {
        for section in &self.sections {
            cursor.advance(&section.topic, section.end());
        }
    }

    /// The records in the source's own order, each with its transaction. Ends after the first that does not decode.
    pub fn records(&self) -> Merge<'_> {
        Merge::new(self)
    }
}

/// One section's place in the merge.
#[derive(Debug)]
struct Head<'a> {
    section: &'a Section,
    next: Option<Record<'a>>,
    rest: Records<'a>,
}

/// Iterator that merges sections by order number.
#[derive(Debug)]
pub struct Merge<'a> {
    heads: Vec<Head<'a>>,
    transactions: Transactions<'a>,
    transaction: Transaction<'a>,
    failed: Option<Error>,
}

impl<'a> Merge<'a> {
    fn new(delivery: &'a Delivery) -> Self {
        let transactions = Transactions::new(&delivery.transactions);
        let mut merge =
            Merge { heads: Vec::new(), transactions, transaction: Transaction::default(), failed: None };
        for section in &delivery.sections {
            let mut head = Head { section, next: None, rest: section.records() };
            merge.failed = merge.failed.take().or(pull(&mut head).err());
            merge.heads.push(head);
        }
        merge
    }

    /// Index of the head with the smallest order.
    #[inline]
    fn first(&self) -> Option<usize> {
        let order = |head: &Head<'a>| head.next.map(|record| record.order);
        match self.heads.as_slice() {
            [only] => only.next.map(|_| 0),
            heads => {
                let some = heads.iter().enumerate().filter_map(|(at, head)| Some((order(head)?, at)));
                some.min().map(|(_, at)| at)
            }
        }
    }

    /// The transaction that the record with this order belongs to.
    #[inline]
    fn seek(&mut self, order: u32) -> Result<Transaction<'a>> {
        while order >= self.transaction.end {
            match self.transactions.next() {
                Some(transaction) => self.transaction = transaction?,
                None => {
                    return Err(Error::corrupt(format!("decode batch: record {order} is in no transaction")));
                }
            }
        }
        Ok(self.transaction)
    }
}

/// Fetches a head's next record that the reader wants.
#[inline]
fn pull(head: &mut Head<'_>) -> Result<()> {
    loop {
        head.next = head.rest.next().transpose()?;
        match head.next {
            Some(record) if record.offset < head.section.from => continue,
            _ => return Ok(()),
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = Result<Delivered<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        let at = self.first()?;
        let head = self.heads.get_mut(at)?;
        let (section, record) = (head.section, head.next?);
        self.failed = pull(head).err();
        match self.seek(record.order) {
            Ok(transaction) => Some(Ok(Delivered { section, transaction, record })),
            Err(error) => {
                self.heads.clear();
                Some(Err(error))
            }
        }
    }
}
