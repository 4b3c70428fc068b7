//! Sinks that are added later, of every kind: filled from the compacted log alone, while the source is gone.

use crate::fanout::copies::{self, TABLES};
use crate::fanout::fan::{ALL, Fan, Kind};
use crate::support::shop::PATIENCE;

#[test]
fn new_sinks_of_every_kind_are_filled_from_the_log_alone() {
    let Some(mut fan) = Fan::new("new_sinks_of_every_kind_are_filled_from_the_log_alone") else { return };
    fan.fill(200);
    let all = std::mem::take(&mut fan.config);
    let whole = std::fs::read_to_string(&all).expect("read the configuration");
    let (before, _) = whole.split_once("sinks:\n").expect("sinks");
    std::fs::write(&all, format!("{before}sinks:\n{}", fan.sink(Kind::Sqlite, "")))
        .expect("write the configuration");
    fan.shop.catch_up(&all);
    fan.shop.sql.execute(super::CHANGES);
    fan.shop.catch_up(&all);
    let source = fan.source();
    fan.shop.server.stop();
    std::fs::write(&all, whole).expect("write the configuration");
    fan.config = all;
    let mut running = fan.shop.run(&fan.config);
    fan.settle_as(&mut running, ALL, &source);
    // The source comes back, and all follow.
    fan.shop.server.start_again();
    fan.shop.sql = fan.shop.server.session("shop");
    fan.shop.sql.execute("UPDATE accounts SET version = nextval('v'); DELETE FROM products WHERE id % 2 = 0");
    fan.settle(&mut running, ALL);
    running.stop(PATIENCE);
    assert_eq!(TABLES.len(), source.len());
    assert_ne!(copies::postgres(&fan.shop.sql, &TABLES[0]), source[0], "the source went on");
}
