//! What a sink takes, and where it gets it from: the log.

use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const TABLES: &str = "
    CREATE TABLE users(id int PRIMARY KEY, email text, secret text);
    CREATE TABLE orders(id int PRIMARY KEY, user_id int);
    INSERT INTO users SELECT i, 'u' || i, 's' FROM generate_series(1, 10) i;
    INSERT INTO orders SELECT i, i FROM generate_series(1, 10) i";
const CHANGES: &str = "
    UPDATE users SET email = 'new' WHERE id = 1; DELETE FROM users WHERE id IN (2, 3); UPDATE users SET id = 40 WHERE id = 4;
    DELETE FROM orders WHERE id > 8; INSERT INTO orders VALUES (20, 1)";

#[test]
fn a_new_sink_is_filled_from_the_log_alone() {
    let mut shop = Shop::new("late");
    shop.sql.execute(TABLES);
    let config = shop.simple("tables: [\"public.*\"]");
    shop.catch_up(&config);
    shop.sql.execute(CHANGES);
    shop.catch_up(&config);
    let users = shop.sql.query_text("SELECT * FROM users ORDER BY id");
    shop.server.stop();
    // The source is gone; the other sink and the new one do not need it.
    let text = std::fs::read_to_string(&config).expect("read the configuration");
    std::fs::write(&config, format!("{text}  late: {{type: sqlite, path: ./late.db}}\n"))
        .expect("write the configuration");
    let late = shop.dir.join("late.db");
    let mut running = shop.run(&config);
    running.wait_until("it is filled", PATIENCE, || {
        sqlite::rows(&late, "SELECT * FROM users ORDER BY id") == users
    });
    // The source comes back, and both follow.
    shop.server.start_again();
    shop.sql = shop.server.session("shop");
    shop.sql.execute("INSERT INTO users VALUES (50, 'after', NULL)");
    for target in [&shop.target(), &late] {
        running.wait_until("both follow", PATIENCE, || {
            sqlite::value(target, "SELECT email FROM users WHERE id = 50").is_some()
        });
    }
    running.stop(PATIENCE);
    for target in [&shop.target(), &late] {
        shop.same(target, "SELECT * FROM users ORDER BY id");
        shop.same(target, "SELECT * FROM orders ORDER BY id");
    }
}

#[test]
fn tables_columns_and_deletes_as_the_rules_say() {
    let shop = Shop::new("rules");
    shop.sql.execute(TABLES);
    let config = shop.config(
        "tables: [\"public.*\"]",
        "  mail:\n    type: sqlite\n    path: ./mail.db\n    tables:\n\
         \x20     - {topic: shop.public.users, table: people, columns: {id: person, email: address}, on_delete: ignore}\n\
         \x20 all:\n    type: sqlite\n    path: ./all.db\n    tables:\n      - {topic: \"shop.public.*\"}\n",
    );
    shop.catch_up(&config);
    shop.sql.execute(CHANGES);
    shop.catch_up(&config);
    shop.sql.execute("TRUNCATE users, orders");
    shop.catch_up(&config);
    let (mail, all) = (shop.dir.join("mail.db"), shop.dir.join("all.db"));
    // Nobody leaves; the one whose key changed is under the new one; what was not asked for is not there.
    let people = sqlite::rows(
        &mail,
        "SELECT group_concat(person), count(address) FROM (SELECT * FROM people ORDER BY person)",
    );
    assert_eq!(people, [[Some("1,2,3,5,6,7,8,9,10,40".into()), Some("10".into())]]);
    let columns = sqlite::rows(&mail, "SELECT group_concat(name) FROM pragma_table_info('people')");
    assert_eq!(columns, [[Some("person,address".into())]]);
    assert_eq!(
        sqlite::value(&mail, "SELECT count(*) FROM sqlite_schema WHERE name = 'orders'").as_deref(),
        Some("0")
    );
    for table in ["users", "orders"] {
        assert_eq!(
            sqlite::value(&all, &format!("SELECT count(*) FROM {table}")).as_deref(),
            Some("0"),
            "{table}"
        );
    }
}

#[test]
fn several_sources_meet_in_one_sink() {
    let shop = Shop::new("sources");
    let support = shop.server.create_database("support");
    shop.sql.execute(TABLES);
    support.execute("CREATE TABLE users(id int PRIMARY KEY, name text); CREATE TABLE tickets(id int PRIMARY KEY); INSERT INTO users VALUES (1, 'x'); INSERT INTO tickets VALUES (1)");
    let [one, two] = ["shop", "support"].map(|database| shop.server.socket_url(database));
    let config = crate::pipeline::config(
        &shop.dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{one}\", tables: [\"public.*\"]}}\n\
             \x20 support: {{type: postgres, url: \"{two}\", tables: [\"public.*\"]}}\n\
             sinks:\n  reports:\n    type: sqlite\n    path: ./one.db\n    tables:\n      - {{topic: \"shop.*\"}}\n\
             \x20     - {{topic: support.public.tickets}}\n      - {{topic: support.public.users, table: support_users}}\n"
        ),
    );
    shop.catch_up(&config);
    shop.sql.execute(CHANGES);
    support.execute("UPDATE users SET name = 'y'; INSERT INTO tickets VALUES (2)");
    shop.catch_up(&config);
    let target = shop.target();
    shop.same(&target, "SELECT * FROM users ORDER BY id");
    shop.same(&target, "SELECT * FROM orders ORDER BY id");
    assert_eq!(
        sqlite::rows(&target, "SELECT * FROM support_users"),
        support.query_text("SELECT * FROM users")
    );
    assert_eq!(
        sqlite::rows(&target, "SELECT * FROM tickets ORDER BY id"),
        support.query_text("SELECT * FROM tickets ORDER BY id")
    );
}
