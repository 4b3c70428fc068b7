//! Tests that cannot run on this machine.

use std::io::Write;

/// Records that a test did not run and why, so that the totals of `make test` count it as skipped and not as
/// passed. The caller returns right after.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skipped {test}: {reason}");
    let Some(path) = std::env::var_os("MILLSTREAM_SKIPPED") else { return };
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("open the list of skipped tests");
    // One write: tests append from several threads.
    file.write_all(format!("{test}: {reason}\n").as_bytes()).expect("write the list of skipped tests");
}
