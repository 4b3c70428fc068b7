//! A row that a target refuses waits with its key as a dead letter; everything else goes on; mended, it is applied in order.

use serde_json::json;

use crate::fanout::fan::{ALL, Fan, Kind};
use crate::support::http;
use crate::support::shop::PATIENCE;

const REFUSING: &[Kind] = &[Kind::Postgres, Kind::MariaDb, Kind::Webhook];

#[test]
fn a_refused_row_blocks_its_own_key_in_every_target() {
    let Some(fan) = Fan::new("a_refused_row_blocks_its_own_key_in_every_target") else { return };
    fan.fill(50);
    let mut running = fan.shop.run(&fan.config);
    fan.settle(&mut running, ALL);
    let (billing, warehouse) = (fan.postgres.session("billing"), fan.mariadb.session("warehouse"));
    let rule = "ALTER TABLE accounts ADD CONSTRAINT never_13 CHECK (balance <> 13)";
    billing.execute(rule);
    warehouse.execute(rule);
    fan.hook.refuse(Some(("accounts", json!({"id": 5}))));
    let before = fan.rows(Kind::Postgres, &crate::fanout::copies::TABLES[0]);
    // Three changes of one row, of which the first is refused; changes of others before, between and in the same transaction.
    fan.shop.sql.execute(
        "UPDATE accounts SET balance = 1, version = nextval('v') WHERE id = 1;
         BEGIN; UPDATE accounts SET balance = 13, version = nextval('v') WHERE id = 5;
           UPDATE accounts SET balance = 2, version = nextval('v') WHERE id = 2; COMMIT",
    );
    // What follows at once could hide it: of the changes of a row that come together, the last one counts.
    for kind in REFUSING {
        running.wait_until("it is refused", PATIENCE, || fan.status(*kind)["dead_letters"] == 1);
    }
    fan.shop.sql.execute(
        "UPDATE accounts SET balance = 14, version = nextval('v') WHERE id = 5;
         DELETE FROM accounts WHERE id = 5; INSERT INTO accounts(id, balance) VALUES (5, 15), (6000, 6);
         UPDATE orders SET lines = 7, version = nextval('v') WHERE id = 5",
    );
    fan.settle(&mut running, &[Kind::Redis, Kind::Sqlite]);
    for kind in REFUSING {
        running.wait_until("the other rows", PATIENCE, || {
            let rows = fan.rows(*kind, &crate::fanout::copies::TABLES[0]);
            rows.iter().any(|row| row[0].as_deref() == Some("6000"))
        });
        running.wait_until("its letters are counted", PATIENCE, || fan.status(*kind)["dead_letters"] == 4);
        let rows = fan.rows(*kind, &crate::fanout::copies::TABLES[0]);
        let balance =
            |id: &str| rows.iter().find(|row| row[0].as_deref() == Some(id)).and_then(|row| row[1].clone());
        assert_eq!((balance("1").as_deref(), balance("2").as_deref()), (Some("1"), Some("2")), "{kind:?}");
        let five = |row: &&Vec<Option<String>>| row[0].as_deref() == Some("5");
        assert_eq!(rows.iter().find(five), before.iter().find(five), "{kind:?}: the row stays as it was");
        assert_eq!(
            fan.status(*kind)["state"],
            "running",
            "{kind:?}: dead letters are no failure of the sink"
        );
        letters_are_shown(&fan, *kind);
    }
    let drop = "ALTER TABLE accounts DROP CONSTRAINT never_13";
    billing.execute(drop);
    warehouse.execute(drop);
    fan.hook.refuse(None);
    for kind in REFUSING {
        assert!(fan.letters(&["retry", kind.sink(), "--all"]).stderr.contains("4 applied"), "{kind:?}");
    }
    fan.settle(&mut running, ALL);
    fan.ready(&mut running);
    fan.shop.sql.execute("UPDATE accounts SET balance = 13, version = nextval('v') WHERE id = 5");
    fan.settle(&mut running, ALL);
    running.stop(PATIENCE);
}

/// Four letters of one key: counted, listed in order, shown with their row, and retried in vain while the rule stands.
fn letters_are_shown(fan: &Fan, kind: Kind) {
    let metric = format!("millstream_sink_dead_letters{{sink=\"{}\"}}", kind.sink());
    assert_eq!(http::metric(&fan.config, &metric), Some(4.0));
    let letters = fan.letters(&["list", kind.sink(), "--json"]).json();
    let ops: Vec<_> = letters.as_array().expect("a list").iter().map(|letter| letter["op"].clone()).collect();
    assert_eq!(ops, [json!("u"), json!("u"), json!("d"), json!("c")], "{kind:?}: {letters}");
    assert!(letters[1]["error"].as_str().is_some_and(|error| error.contains("waits behind")), "{letters}");
    let id = letters[0]["id"].to_string();
    fan.letters(&["show", kind.sink(), &id]).prints(&["\"balance\": 13"]);
    // In vain while the rule stands.
    assert!(fan.letters(&["retry", kind.sink(), "--all"]).stderr.contains("0 applied"), "{kind:?}");
}
