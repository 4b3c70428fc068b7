//! Retention by age and size: whole sections go, oldest first, never past what a group still wants (I5).

use std::collections::BTreeMap;

use connector_api::{Result, TopicPartition};

use super::{Plan, Run, Standing, each_batch};
use crate::log::Retention;

/// One section.
#[derive(Debug)]
struct Candidate {
    segment: u64,
    sequence: u64,
    number: usize,
    end: u64,
    appended_us: i64,
    bytes: u64,
}

/// A topic-partition that has limits.
#[derive(Debug, Default)]
struct Limited {
    /// Sections that may go, oldest first.
    candidates: Vec<Candidate>,
    /// A section of an unfinished transaction was met: nothing from there on may go.
    stopped: bool,
    /// Bytes of all its sections.
    bytes: u64,
}

/// Plans what limits and aborted transactions remove, and gives the new earliest offsets.
pub(super) fn plan(run: &Run<'_>, plans: &mut BTreeMap<u64, Plan>) -> Result<BTreeMap<TopicPartition, u64>> {
    let mut limited: BTreeMap<TopicPartition, Limited> = BTreeMap::new();
    for first in &run.sealed {
        survey(run, *first, plans.entry(*first).or_default(), &mut limited)?;
    }
    let mut earliest = BTreeMap::new();
    for (topic, found) in limited {
        let Retention::Limits { age_s, bytes } = run.retention(&topic) else { continue };
        // What stands in the newest segment counts too, and never goes.
        let known = run.state.topics.get(&topic).map_or(0, |known| known.bytes);
        let mut left = known.max(found.bytes);
        let floor = if run.options.wait_for_groups { run.passed(&topic) } else { u64::MAX };
        let oldest_us = age_s.map(|age| run.now_us.saturating_sub_unsigned(age.saturating_mul(1_000_000)));
        for candidate in found.candidates {
            let expired = oldest_us.is_some_and(|oldest| candidate.appended_us < oldest);
            let over = bytes.is_some_and(|most| left > most);
            if !(expired || over) || candidate.end > floor {
                break;
            }
            left = left.saturating_sub(candidate.bytes);
            earliest.insert(topic.clone(), candidate.end);
            plans.entry(candidate.segment).or_default().drop_all(candidate.sequence, candidate.number);
        }
    }
    Ok(earliest)
}

fn survey(
    run: &Run<'_>,
    first: u64,
    plan: &mut Plan,
    limited: &mut BTreeMap<TopicPartition, Limited>,
) -> Result<()> {
    let (mut segment, limit) = run.open(first)?;
    each_batch(&mut segment, limit, |_, directory| {
        let standing = run.standing(directory);
        for (number, head) in directory.sections.iter().enumerate() {
            if standing == Standing::Aborted {
                plan.drop_all(directory.sequence, number);
                continue;
            }
            let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
            if !matches!(run.retention(&topic), Retention::Limits { age_s, bytes } if age_s.is_some() || bytes.is_some()) {
                continue;
            }
            let found = limited.entry(topic).or_default();
            found.bytes = found.bytes.saturating_add(head.raw);
            found.stopped |= standing == Standing::Unfinished;
            if !found.stopped {
                found.candidates.push(Candidate {
                    segment: first,
                    sequence: directory.sequence,
                    number,
                    end: head.end(),
                    appended_us: directory.appended_us,
                    bytes: head.raw,
                });
            }
        }
    })
}
