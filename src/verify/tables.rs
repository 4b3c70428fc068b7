//! What is compared: the tables of a sink, and for each the topics whose rows it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Column, Error, Originals, Result, Schema, Target};

use crate::config::Config;
use crate::pipeline::mapping::Mapping;
use crate::pipeline::shape::Shaper;
use crate::registry;

/// The sources of a configuration, for reading.
pub type Sources = BTreeMap<String, Box<dyn Originals>>;

/// One table of the sink.
#[derive(Debug)]
pub struct Table {
    /// How its rows are read: with the columns of all topics that go into it.
    pub target: Target,
    /// The topics that go into it.
    pub feeds: Vec<Feed>,
    /// Rows that the source no longer has may be there.
    pub keeps_rows: bool,
    /// Estimate of its rows.
    pub rows_estimated: u64,
}

/// One topic of a table.
#[derive(Debug)]
pub struct Feed {
    /// The source.
    pub source: String,
    /// The source's table as it is.
    pub original: Arc<Target>,
    /// What the rules make of it.
    pub shaped: Arc<Target>,
    /// For each column of the table, the place among the columns of `shaped`.
    pub places: Vec<Option<usize>>,
    /// For each column of the source's key, its place in the table's key; `None` when the one does not tell the other.
    pub key: Option<Vec<usize>>,
}

/// Works out what a sink holds, from the shapes that the sources have now.
///
/// # Errors
/// When a source cannot be asked, or the rules do not fit.
pub async fn tables(config: &Config, mapping: &Mapping) -> Result<(Sources, Vec<Table>)> {
    let subscription = mapping.subscription();
    let mut shaper = Shaper::new(mapping.clone());
    let mut sources = Sources::new();
    let mut found: Vec<(Arc<Target>, String, Arc<Target>, u64)> = Vec::new();
    for (name, connector) in &config.sources {
        let mut originals = registry::originals(name, connector)?;
        let wanted = format!("{name}.");
        if !subscription.patterns.iter().any(|pattern| may_match(pattern, &wanted)) {
            continue;
        }
        for original in originals.tables().await? {
            let (topic, schema) = (&original.target.topic, &original.target.schema);
            if !subscription.wants(topic) {
                continue;
            }
            for shaped in shaper.targets(topic, schema)? {
                found.push((shaped, name.clone(), original.target.clone(), original.rows_estimated));
            }
        }
        sources.insert(name.clone(), originals);
    }
    let mut tables: Vec<(String, Vec<_>)> = Vec::new();
    for item in found {
        match tables.iter_mut().find(|(name, _)| *name == item.0.table) {
            Some((_, items)) => items.push(item),
            None => tables.push((item.0.table.clone(), vec![item])),
        }
    }
    let made = tables.into_iter().map(|(_, items)| table(&shaper, items));
    Ok((sources, made.collect::<Result<_>>()?))
}

/// Whether a pattern of topics can match one that begins with `start`.
fn may_match(pattern: &str, start: &str) -> bool {
    let fixed = pattern.split('*').next().unwrap_or_default();
    fixed.starts_with(start) || (fixed.len() < pattern.len() && start.starts_with(fixed))
}

fn table(shaper: &Shaper, items: Vec<(Arc<Target>, String, Arc<Target>, u64)>) -> Result<Table> {
    let targets: Vec<_> = items.iter().map(|(shaped, ..)| shaped).collect();
    let target = merge(&targets)?;
    let place = |shaped: &Target, at: usize| {
        (0..shaped.columns.len()).find(|other| shaped.name(*other) == target.name(at))
    };
    let feed = |(shaped, source, original, _): &(Arc<Target>, String, Arc<Target>, u64)| Feed {
        source: source.clone(),
        original: original.clone(),
        shaped: shaped.clone(),
        places: (0..target.columns.len()).map(|at| place(shaped, at)).collect(),
        key: source_key(original, shaped),
    };
    Ok(Table {
        feeds: items.iter().map(feed).collect(),
        keeps_rows: items.iter().any(|(_, _, original, _)| shaper.keeps_rows(&original.topic)),
        rows_estimated: items.iter().map(|(_, _, _, rows)| rows).sum(),
        target,
    })
}

/// One target for all topics of a table: the columns of each.
fn merge(targets: &[&Arc<Target>]) -> Result<Target> {
    let mut merged = match targets {
        [] => return Err(Error::config("compare table: no topic goes into it")),
        [first, ..] => Target::clone(first),
    };
    for other in targets.iter().skip(1) {
        let mut schema = Schema::clone(&merged.schema);
        for at in 0..other.columns.len() {
            let (name, Some(column)) = (other.name(at), other.column(at)) else { continue };
            let known = (0..merged.columns.len()).find(|known| merged.name(*known) == name);
            match known.and_then(|known| merged.column(known)) {
                None => {
                    schema.columns.push(column.clone());
                    merged.columns.push((schema.columns.len() - 1, name.to_owned()));
                }
                Some(same) if is_alike(same, column) => {}
                Some(same) => {
                    return Err(Error::config(format!(
                        "compare table {:?}: column {name:?} is {} in topic {} and {} in topic {}",
                        merged.table, same.type_name, merged.topic, column.type_name, other.topic
                    )));
                }
            }
        }
        if merged.key_names() != other.key_names() {
            return Err(Error::config(format!(
                "compare table {:?}: its key is ({}) for topic {} and ({}) for topic {}",
                merged.table,
                merged.key_names().join(", "),
                merged.topic,
                other.key_names().join(", "),
                other.topic
            )));
        }
        merged.schema = Arc::new(schema);
    }
    Ok(merged)
}

fn is_alike(one: &Column, other: &Column) -> bool {
    one.kind == other.kind && one.element == other.element
}

/// Where each column of the source's key stands in the target's, when the rules leave it the same key.
fn source_key(original: &Target, shaped: &Target) -> Option<Vec<usize>> {
    let wanted = &original.schema.key;
    if wanted.is_empty() || wanted.len() != shaped.key.len() {
        return None;
    }
    let place = |column: &usize| {
        let wanted = original.schema.columns.get(*column)?;
        shaped.key.iter().position(|at| {
            shaped.column(*at).is_some_and(|found| found.name == wanted.name && found.kind == wanted.kind)
        })
    };
    wanted.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_reach_the_sources_they_may_name() {
        assert!(may_match("shop.*", "shop.") && may_match("*", "shop.") && may_match("sh*", "shop."));
        assert!(may_match("shop.public.users", "shop.") && may_match("*.public.users", "shop."));
        assert!(
            !may_match("crm.*", "shop.") && !may_match("sho", "shop.") && !may_match("shopping.*", "shop.")
        );
    }
}
