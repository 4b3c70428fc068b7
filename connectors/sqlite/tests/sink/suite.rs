//! The suite that every sink passes.

use connector_api::testing::erasures;
use connector_api::testing::sinks::{Subject, suite};
use connector_api::{Rows, Sink};
use connector_sqlite::{Options, Sqlite, rows};

use crate::fixture::now;

struct File {
    options: Options,
}

impl Subject for File {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Sqlite::new("suite", self.options.clone()))
    }

    fn rows(&self) -> Box<dyn Rows> {
        rows("suite", &self.options).unwrap()
    }
}

#[test]
fn the_suite_of_all_sinks() {
    let folder = tempfile::tempdir().unwrap();
    now(suite(&mut File { options: Options::new(folder.path().join("target.db")) }));
}

#[test]
fn the_suite_of_erasures() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { erases: true, ..Options::new(folder.path().join("target.db")) };
    now(erasures::suite(&mut File { options }));
}
