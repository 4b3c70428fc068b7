//! The suite that every sink passes.

use connector_api::testing::erasures;
use connector_api::testing::sinks::{Subject, suite};
use connector_api::{Rows, Sink};
use connector_postgres::sink::{Options, Postgres, rows};

use crate::fixture::Harness;

struct Database {
    options: Options,
}

impl Subject for Database {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Postgres::new("suite", self.options.clone()))
    }

    fn rows(&self) -> Box<dyn Rows> {
        rows("suite", &self.options).unwrap()
    }
}

#[test]
fn the_suite_of_all_sinks() {
    let harness = Harness::new();
    let mut database = Database { options: harness.options.clone() };
    harness.runtime.block_on(suite(&mut database));
}

#[test]
fn the_suite_of_erasures() {
    for batched in [false, true] {
        let harness = Harness::with(|options| (options.batched, options.erases) = (batched, true), "");
        let mut database = Database { options: harness.options.clone() };
        harness.runtime.block_on(erasures::suite(&mut database));
    }
}
