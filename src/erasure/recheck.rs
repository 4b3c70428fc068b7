//! Looking again whether absence still holds: a row that a restored backup or another program brought back is found.

use std::sync::Arc;

use connector_api::{Result, Value};
use tracing::{info, warn};

use super::cascade;
use super::fence::Gate;
use super::ledger::{Case, Ledger};
use super::rules::Subject;
use crate::config::Config;
use crate::pipeline::status::now_us;
use crate::registry;

/// Cases of one kind of subject that are looked at in one go.
const CASES_MAX: usize = 100;

/// Looks at the complete cases that are due. A target that cannot be asked now is asked the next time: its case stays due.
///
/// # Errors
/// When the state database cannot be read or written.
pub async fn recheck(config: Arc<Config>, gate: Gate, ledger: Ledger) -> Result<()> {
    for subject in &gate.rules.subjects {
        let Some(every) = subject.verify_every else { continue };
        for case in ledger.due_for_verification(&subject.name, now_us(), every, CASES_MAX)? {
            match look(&config, &gate, subject, &case).await {
                Ok(left) => note(&ledger, &case, &left)?,
                Err(error) => {
                    warn!(case = case.id, "look whether an erasure holds: {error}; it is tried again");
                }
            }
        }
    }
    Ok(())
}

fn note(ledger: &Ledger, case: &Case, left: &[(String, u64)]) -> Result<()> {
    ledger.verified(&case.id, now_us(), left)?;
    match left.iter().find(|(_, rows)| *rows > 0) {
        None => info!(case = case.id, "the erasure holds"),
        Some((target, rows)) => warn!(
            case = case.id,
            sink = target,
            rows,
            remedy = "millstream erase CONFIG SUBJECT KEY",
            "the erasure does not hold: rows of the subject are back"
        ),
    }
    Ok(())
}

/// Rows that are there again, by sink.
async fn look(config: &Config, gate: &Gate, subject: &Subject, case: &Case) -> Result<Vec<(String, u64)>> {
    let plain = gate.secret.unseal(&case.id, &case.sealed)?;
    let key = Value::from_bytes(&plain);
    let mut left = Vec::new();
    for name in subject.sinks.keys() {
        let steps = cascade::erasure(subject, name, &case.id, key, &case.key_hash)?.steps;
        let Some(sink) = config.sinks.get(name).filter(|_| !steps.is_empty()) else { continue };
        let Some(mut rows) = registry::rows(name, sink)? else { continue };
        let mut count = 0;
        for step in &steps {
            count += rows.left(step).await?;
        }
        left.push((name.clone(), count));
    }
    Ok(left)
}
