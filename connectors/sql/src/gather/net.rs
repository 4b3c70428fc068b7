//! The net effect: what the changes of each key leave, and in which order it is given back.

use connector_api::{Result, Row, Target, Value};

use super::Entry;
use super::index::Index;
use super::registry::{Known, Registry};
use super::row::{Images, What, merge, work};
use super::step::{Step, Work};

/// No entry.
const NONE: u32 = u32::MAX;

/// What the changes of one key, or one change that stands alone, come to in one layer.
#[derive(Debug)]
struct Item {
    table: u32,
    target: u32,
    layer: u32,
    hash: u64,
    form: Form,
    /// The first change that counts; `Net::next` leads from it to those that are merged into it.
    head: u32,
    tail: u32,
    columns: u32,
    fresh: bool,
    /// A delete of the same key comes first.
    cleared: bool,
    /// The merged row: place and length in `Net::merged`.
    merged: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Upsert,
    Update,
    Mark,
    Delete,
    Insert,
    /// A step of its own.
    Alone,
    /// The key that a row left.
    Left,
}

/// A table in one flush.
#[derive(Debug, Clone, Copy)]
struct Table {
    layout: u32,
    /// Items before this one are void: a truncate came after them.
    void: u32,
    /// Items before this one take nothing more: something that concerns the whole table came after them.
    closed: u32,
    /// The first layer for what comes now.
    floor: u32,
    /// The first layer that nothing is in.
    used: u32,
}

impl Table {
    const NEW: Table = Table { layout: NONE, void: 0, closed: 0, floor: 0, used: 0 };

    /// Everything that comes later goes into later layers.
    fn close(&mut self, items: usize) {
        self.closed = items as u32;
        self.floor = self.used;
    }
}

/// The net effect of what is gathered.
#[derive(Debug, Default)]
pub(super) struct Net {
    items: Vec<Item>,
    /// For each entry, the next one that is merged with it.
    next: Vec<u32>,
    tables: Vec<Table>,
    merged: Vec<u8>,
}

/// What follows a change of a key that is known already.
enum Fate {
    Merged,
    Later,
}

impl Net {
    /// Gives back what one large flush took.
    pub(super) fn clear(&mut self, usual: usize) {
        self.items.clear();
        self.items.shrink_to(usual / size_of::<Item>());
        self.next.clear();
        self.next.shrink_to(usual / size_of::<u32>());
        self.merged.clear();
        self.merged.shrink_to(usual);
    }

    /// Works the net effect of `entries` out.
    pub(super) fn work_out(
        &mut self,
        arena: &[u8],
        entries: &[Entry],
        registry: &mut Registry,
        index: &mut Index,
    ) -> Result<()> {
        self.items.clear();
        self.merged.clear();
        self.next.clear();
        self.next.resize(entries.len(), NONE);
        self.tables.clear();
        self.tables.resize(registry.tables as usize, Table::NEW);
        // A move takes two keys.
        index.begin(entries.len().saturating_mul(2));
        for (at, entry) in entries.iter().enumerate() {
            if let Some(known) = registry.targets.get(entry.target as usize) {
                self.take(at as u32, entry, known, arena, entries, index);
            }
        }
        self.merge(arena, entries, registry)
    }

    #[inline]
    fn take(
        &mut self,
        at: u32,
        entry: &Entry,
        known: &Known,
        arena: &[u8],
        entries: &[Entry],
        index: &mut Index,
    ) {
        let Some(table) = self.tables.get_mut(known.table as usize) else { return };
        if table.layout != known.layout {
            table.close(self.items.len());
            table.layout = known.layout;
        }
        let form = match entry.what {
            What::Upsert => Form::Upsert,
            What::Update => Form::Update,
            What::Mark => Form::Mark,
            What::Delete => Form::Delete,
            What::Insert => {
                let floor = table.floor;
                return self.add(at, entry, known.table, floor, Form::Insert);
            }
            What::Move => return self.take_move(at, entry, known.table, arena, entries, index),
            What::Truncate | What::MarkAll | What::ReplaceRow(_) | What::DeleteRow => {
                if entry.what == What::Truncate {
                    (table.void, table.used) = (self.items.len() as u32, 0);
                }
                let layer = table.used;
                self.add(at, entry, known.table, layer, Form::Alone);
                if let Some(table) = self.tables.get_mut(known.table as usize) {
                    table.close(self.items.len());
                }
                return;
            }
        };
        let (closed, floor) = (table.closed, table.floor);
        let key = Images::of(arena, entry).key;
        let (slot, found) = self.find(known.table, entry.hash, key, arena, entries, index);
        let layer = match found.filter(|number| *number >= closed) {
            None => floor,
            Some(number) => match self.follow(number, at, entry, form) {
                Fate::Merged => return,
                Fate::Later => self.layer_after(Some(number)),
            },
        };
        index.put(slot, self.items.len() as u32);
        self.add(at, entry, known.table, layer, form);
    }

    /// What a change does to the item that its key has: the whole table of rules.
    #[inline]
    fn follow(&mut self, number: u32, at: u32, entry: &Entry, form: Form) -> Fate {
        let Some(item) = self.items.get_mut(number as usize) else { return Fate::Later };
        let same = item.target == entry.target;
        match (form, item.form) {
            // The row is gone, whatever it was.
            (Form::Delete, Form::Upsert | Form::Update | Form::Mark | Form::Delete) => {
                (item.cleared, item.fresh, item.merged) = (false, false, None);
            }
            (Form::Upsert, Form::Upsert | Form::Update | Form::Mark) if same => {
                item.fresh = match item.form {
                    Form::Upsert => item.fresh,
                    _ => item.cleared,
                };
            }
            (Form::Upsert | Form::Update, Form::Delete) => {
                (item.cleared, item.fresh) = (true, form == Form::Upsert);
            }
            // Nothing is there to be marked.
            (Form::Mark, Form::Delete) => return Fate::Merged,
            (Form::Update, Form::Upsert | Form::Update)
            | (Form::Mark, Form::Upsert | Form::Update | Form::Mark)
                if same =>
            {
                if let Some(next) = self.next.get_mut(item.tail as usize) {
                    *next = at;
                }
                item.tail = at;
                return Fate::Merged;
            }
            // Values for other columns, or something that must have happened before.
            _ => return Fate::Later,
        }
        (item.form, item.target, item.columns, item.head, item.tail) =
            (form, entry.target, entry.columns, at, at);
        Fate::Merged
    }

    /// A row leaves one key and comes to another: later than all that is known of either.
    #[cold]
    fn take_move(
        &mut self,
        at: u32,
        entry: &Entry,
        table: u32,
        arena: &[u8],
        entries: &[Entry],
        index: &mut Index,
    ) {
        let Some(&Table { closed, floor, .. }) = self.tables.get(table as usize) else { return };
        let images = Images::of(arena, entry);
        let hash = index.hash(table, images.old);
        let live = |found: Option<u32>| found.filter(|number| *number >= closed);
        let (_, new) = self.find(table, entry.hash, images.key, arena, entries, index);
        let (slot, old) = self.find(table, hash, images.old, arena, entries, index);
        let layer = floor.max(self.layer_after(live(new))).max(self.layer_after(live(old)));
        index.put(slot, self.items.len() as u32);
        self.add(at, entry, table, layer, Form::Left);
        if let Some(item) = self.items.last_mut() {
            item.hash = hash;
        }
        let (slot, _) = self.find(table, entry.hash, images.key, arena, entries, index);
        index.put(slot, self.items.len() as u32);
        self.add(at, entry, table, layer, Form::Alone);
    }

    fn layer_after(&self, number: Option<u32>) -> u32 {
        let item = number.and_then(|number| self.items.get(number as usize));
        item.map_or(0, |item| item.layer.saturating_add(1))
    }

    #[inline]
    fn find(
        &self,
        table: u32,
        hash: u64,
        key: &[u8],
        arena: &[u8],
        entries: &[Entry],
        index: &Index,
    ) -> (usize, Option<u32>) {
        index.find(hash, |number| {
            self.items.get(number as usize).is_some_and(|item| {
                item.hash == hash && item.table == table && key_of(item, arena, entries) == key
            })
        })
    }

    #[inline]
    fn add(&mut self, at: u32, entry: &Entry, table: u32, layer: u32, form: Form) {
        if let Some(table) = self.tables.get_mut(table as usize) {
            table.used = table.used.max(layer.saturating_add(1));
        }
        self.items.push(Item {
            table,
            target: entry.target,
            layer,
            hash: entry.hash,
            form,
            head: at,
            tail: at,
            columns: entry.columns,
            fresh: entry.fresh && form == Form::Upsert,
            cleared: false,
            merged: None,
        });
    }

    /// Makes one row of those that are to be merged.
    fn merge(&mut self, arena: &[u8], entries: &[Entry], registry: &mut Registry) -> Result<()> {
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut columns: Vec<usize> = Vec::new();
        let Net { items, next, tables, merged, .. } = self;
        for (number, item) in items.iter_mut().enumerate() {
            let void = tables.get(item.table as usize).is_some_and(|table| number < table.void as usize);
            if item.head == item.tail || void {
                continue;
            }
            let chain = || {
                let follow = |at: &u32| next.get(*at as usize).copied().filter(|at| *at != NONE);
                let chain = std::iter::successors(Some(item.head), follow);
                chain.filter_map(|at| entries.get(at as usize))
            };
            let start = merged.len();
            let rows = chain().map(|entry| Row::from_bytes(Images::of(arena, entry).row));
            merge(rows, &mut values, merged)?;
            item.merged = Some((start, merged.len() - start));
            columns.clear();
            chain().for_each(|entry| columns.extend(registry.columns(entry.columns)));
            columns.sort_unstable();
            columns.dedup();
            item.columns = registry.set(item.target, &columns);
            let whole =
                registry.targets.get(item.target as usize).is_some_and(|known| known.all == item.columns);
            if whole && item.form == Form::Update {
                item.form = Form::Upsert;
            }
        }
        Ok(())
    }
}

/// The key of an item, in the bytes of its first change.
#[inline]
fn key_of<'a>(item: &Item, arena: &'a [u8], entries: &[Entry]) -> &'a [u8] {
    let images = entries.get(item.head as usize).map(|entry| Images::of(arena, entry)).unwrap_or_default();
    if item.form == Form::Left { images.old } else { images.key }
}

/// What goes into one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    layer: u32,
    target: u32,
    form: Form,
    columns: u32,
    fresh: bool,
}

impl Group {
    fn hash(&self, index: &Index) -> u64 {
        let parts = [self.layer, self.columns, self.form as u32 * 2 + u32::from(self.fresh)];
        let mut bytes = [0; 12];
        let (to, _) = bytes.as_chunks_mut::<4>();
        to.iter_mut().zip(parts).for_each(|(to, part)| *to = part.to_le_bytes());
        index.hash(self.target, &bytes)
    }
}

/// A step before it is one.
struct Pile<'g> {
    group: Group,
    /// What it is sorted by: layer, deletes or not, rank, order of coming.
    order: (u32, bool, u32, u32),
    rows: Vec<Row<'g>>,
    /// For a step of its own.
    alone: Option<&'g Entry>,
}

impl Net {
    /// The steps, in order.
    pub(super) fn steps<'g>(
        &'g self,
        arena: &'g [u8],
        entries: &'g [Entry],
        registry: &'g Registry,
        index: &mut Index,
        rank: &dyn Fn(&Target) -> u32,
    ) -> Vec<Step<'g>> {
        let ranks: Vec<u32> = registry.targets.iter().map(|known| rank(&known.target)).collect();
        let mut piles = Piles { list: Vec::new(), ranks, index };
        piles.index.begin(self.items.len().saturating_mul(2));
        for (number, item) in self.items.iter().enumerate() {
            let void = self.tables.get(item.table as usize).map_or(0, |table| table.void);
            let Some(entry) = entries.get(item.head as usize) else { continue };
            if number < void as usize || item.form == Form::Left {
                continue;
            }
            let images = Images::of(arena, entry);
            let group = |form| {
                let columns = if matches!(form, Form::Update | Form::Mark) { item.columns } else { 0 };
                let fresh = item.fresh && form == Form::Upsert;
                Group { layer: item.layer, target: item.target, form, columns, fresh }
            };
            if item.cleared {
                piles.put(group(Form::Delete), Row::from_bytes(images.key));
            }
            match item.form {
                Form::Alone => piles.alone(group(Form::Alone), entry),
                Form::Delete => piles.put(group(Form::Delete), Row::from_bytes(images.key)),
                form => {
                    let merged = item.merged.and_then(|(start, len)| self.merged.get(start..start + len));
                    piles.put(group(form), Row::from_bytes(merged.unwrap_or(images.row)));
                }
            }
        }
        piles.list.sort_unstable_by_key(|pile| pile.order);
        piles.list.into_iter().filter_map(|pile| pile.step(arena, registry)).collect()
    }
}

struct Piles<'g, 'i> {
    list: Vec<Pile<'g>>,
    ranks: Vec<u32>,
    index: &'i mut Index,
}

impl<'g> Piles<'g, '_> {
    #[inline]
    fn put(&mut self, group: Group, row: Row<'g>) {
        let hash = group.hash(self.index);
        let list = &mut self.list;
        let is = |number: u32| list.get(number as usize).is_some_and(|pile| pile.group == group);
        let (slot, found) = self.index.find(hash, is);
        if let Some(pile) = found.and_then(|number| list.get_mut(number as usize)) {
            return pile.rows.push(row);
        }
        self.index.put(slot, list.len() as u32);
        self.add(group, vec![row], None, group.form == Form::Delete);
    }

    fn alone(&mut self, group: Group, entry: &'g Entry) {
        let deletes = matches!(entry.what, What::Truncate | What::DeleteRow);
        self.add(group, Vec::new(), Some(entry), deletes);
    }

    fn add(&mut self, group: Group, rows: Vec<Row<'g>>, alone: Option<&'g Entry>, deletes: bool) {
        let rank = self.ranks.get(group.target as usize).copied().unwrap_or_default();
        let rank = if deletes { u32::MAX - rank } else { rank };
        let order = (group.layer, !deletes, rank, self.list.len() as u32);
        self.list.push(Pile { group, order, rows, alone });
    }
}

impl<'g> Pile<'g> {
    fn step(self, arena: &'g [u8], registry: &'g Registry) -> Option<Step<'g>> {
        let Pile { group, rows, alone, .. } = self;
        let target = &registry.targets.get(group.target as usize)?.target;
        let columns = || registry.columns(group.columns).to_vec();
        let work = match (group.form, alone) {
            (_, Some(entry)) => work(entry, Images::of(arena, entry), registry.columns(entry.columns)),
            (Form::Upsert, _) => Work::Upsert { rows, fresh: group.fresh },
            (Form::Update, _) => Work::Update { columns: columns(), rows },
            (Form::Mark, _) => Work::Mark { columns: columns(), rows },
            (Form::Delete, _) => Work::Delete { keys: rows },
            (Form::Insert, _) => Work::Insert { rows },
            (Form::Alone | Form::Left, None) => return None,
        };
        Some(Step { target, work })
    }
}
