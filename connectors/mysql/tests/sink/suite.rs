//! The suite that every sink passes.

use connector_api::testing::erasures;
use connector_api::testing::sinks::{Subject, suite};
use connector_api::{Rows, Sink};
use connector_mysql::{Mysql, Options, rows};

use crate::fixture::Harness;

struct Database {
    options: Options,
}

impl Subject for Database {
    fn sink(&self) -> Box<dyn Sink> {
        Box::new(Mysql::new("suite", self.options.clone()))
    }

    fn rows(&self) -> Box<dyn Rows> {
        rows("suite", &self.options).unwrap()
    }

    fn is_small(&self) -> bool {
        true
    }
}

#[test]
fn the_suite_of_all_sinks() {
    let Some(harness) = Harness::new("the_suite_of_all_sinks") else { return };
    let mut database = Database { options: harness.options.clone() };
    harness.runtime.block_on(suite(&mut database));
}

#[test]
fn the_suite_of_erasures() {
    for batched in [false, true] {
        let adjust = |options: &mut Options| (options.batched, options.erases) = (batched, true);
        let Some(harness) = Harness::with("the_suite_of_erasures", adjust, "") else { return };
        let mut database = Database { options: harness.options.clone() };
        harness.runtime.block_on(erasures::suite(&mut database));
    }
}
