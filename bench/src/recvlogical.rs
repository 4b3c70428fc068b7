//! The reference for capture: PostgreSQL's own reader, which throws away what it gets.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::measure::{Error, Run, watch};
use crate::source::{PUBLICATION, Source, Transport};
use crate::workload::Backlog;

/// Drains a slot to /dev/null, to the end of the backlog.
pub fn drain(
    source: &Source,
    transport: Transport,
    slot: &str,
    backlog: &Backlog,
    changes: u64,
) -> Result<Run, Error> {
    let mut command = Command::new(source.server.binaries().program("pg_recvlogical"));
    command
        .args(["--start", "--no-loop", "--file=/dev/null", "--slot", slot, "--endpos", &backlog.end])
        .args(["--dbname", &source.url(transport)])
        .args(["--option=proto_version=1", &format!("--option=publication_names={PUBLICATION}")])
        .stdin(Stdio::null());
    // It ends by itself at the end position; the exit is the measure.
    watch(command, changes, Duration::from_secs(3600), || false, || source.sender(slot))
}
