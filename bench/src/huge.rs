//! One transaction of millions of rows: memory has to stay bounded while it passes through.

use std::path::Path;

use crate::measure::Error;
use crate::report::{self, Series};
use crate::source::{Source, Transport};
use crate::subject::Pipeline;
use crate::workload::{self, Sizes};
use crate::{Options, Part, recvlogical};

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    let sizes = Sizes::new(options.quick);
    let changes = sizes.changes(Part::Huge);
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    source.create_slot("huge_reference");
    let pipeline = match subject {
        None => None,
        Some(binary) => {
            source.create_slot("huge");
            Some(Pipeline::create(binary, directory.path(), &source, Transport::Socket, "huge", true)?)
        }
    };
    eprintln!("huge: loading");
    let backlog = workload::load(&source, Part::Huge, sizes);
    eprintln!("huge: draining");
    let reference =
        vec![recvlogical::drain(&source, Transport::Socket, "huge_reference", &backlog, changes)?];
    let ours: Vec<_> = match &pipeline {
        None => Vec::new(),
        Some(pipeline) => vec![pipeline.drain(&source, &backlog, changes)?],
    };
    report::table(
        &format!("One transaction of {} rows, Unix socket", sizes.huge),
        &[
            Series { name: "`pg_recvlogical` to /dev/null".into(), runs: reference.clone() },
            Series { name: "millstream, end to end into SQLite".into(), runs: ours.clone() },
        ],
    );
    println!();
    report::ratio("end to end / `pg_recvlogical`", &ours, &reference);
    Ok(())
}
