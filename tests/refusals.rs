//! What cannot work is refused with one error that says what, where, and the exact command that mends it; `check` finds
//! it before, and ends with 3.

use std::path::Path;

use crate::pipeline::config;
use crate::support::command::{Said, millstream, until_caught_up};
use crate::support::postgres::Options;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const TABLE: &str = "CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a')";

/// `check` finds `code` with exactly this remedy, as text and as JSON.
fn check_finds(directory: &Path, code: &str, remedy: &str) {
    millstream(directory, &["check", "millstream.yaml"]).expect(3).prints(&[code, remedy]);
    let findings = millstream(directory, &["check", "millstream.yaml", "--json"]).expect(3).json();
    let finding = findings.as_array().expect("a list").iter().find(|finding| finding["code"] == code);
    let finding = finding.unwrap_or_else(|| panic!("no {code} in {findings}"));
    assert!(finding["remedy"].as_str().is_some_and(|found| found.contains(remedy)), "{finding}");
    for field in ["severity", "place", "what"] {
        assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {finding}");
    }
}

/// The one error of a run that ended.
fn only_error(said: &Said) {
    let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("millstream: ")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
}

/// A configuration for a role of its own, which may log in and nothing else.
fn as_role(shop: &Shop, role: &str) -> std::path::PathBuf {
    shop.sql.execute(&format!("CREATE ROLE {role} LOGIN"));
    let url = shop.server.socket_url("shop").replace("postgres@", &format!("{role}@"));
    config(
        &shop.dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{url}\", tables: [public.t]}}\n\
             sinks:\n  one: {{type: sqlite, path: ./one.db}}\n"
        ),
    )
}

#[test]
fn a_server_without_logical_wal() {
    let shop = Shop::on("wal-level", Options::new().set("wal_level", "replica"));
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    let remedy = "ALTER SYSTEM SET wal_level = logical; -- then restart the server";
    check_finds(shop.dir.path(), "postgres-wal-level", remedy);
    let said =
        until_caught_up(shop.dir.path(), &config).expect(1).complains(&["wal_level is replica", remedy]);
    only_error(&said);
    assert_eq!(shop.sql.value("SELECT count(*) FROM pg_publication"), "0", "nothing was made");
}

#[test]
fn a_role_that_may_not_replicate_or_read() {
    let mut shop = Shop::new("role");
    shop.sql.execute(TABLE);
    let config = as_role(&shop, "weak");
    let directory = shop.dir.path();
    check_finds(directory, "postgres-replication-role", "ALTER ROLE \"weak\" REPLICATION;");
    until_caught_up(directory, &config)
        .expect(1)
        .complains(&["weak has no REPLICATION attribute", "ALTER ROLE \"weak\" REPLICATION;"]);

    shop.sql.execute("ALTER ROLE weak REPLICATION");
    let grant = "GRANT SELECT ON \"public\".\"t\" TO \"weak\";";
    check_finds(directory, "postgres-select", grant);
    // It may not make the publication either: what to run, and by whom.
    let create = "CREATE PUBLICATION \"millstream_shop\" FOR TABLE \"public\".\"t\" WITH (publish_via_partition_root = true);";
    until_caught_up(directory, &config).expect(1).complains(&["create publication millstream_shop", create]);
    shop.sql.execute(create);
    until_caught_up(directory, &config).expect(1).complains(&["the role may not read it", "GRANT SELECT ON"]);
    // Every command that was said, and no more: now it works.
    shop.sql.execute(&format!("GRANT USAGE ON SCHEMA public TO weak; {grant}"));
    millstream(directory, &["check", "millstream.yaml"]).expect(0);
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, x FROM t");
    shop.server.stop();
    // And a server that is down is a finding, too.
    millstream(directory, &["check", "millstream.yaml"]).expect(3).prints(&["error[postgres"]);
}

#[test]
fn a_publication_that_lacks_what_is_wanted() {
    let shop = Shop::new("publication");
    shop.sql.execute(TABLE);
    shop.sql.execute("CREATE TABLE other(id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE other");
    let config = shop.simple("tables: [public.t], publication: p, manage_publication: false");
    let add = "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"t\";";
    check_finds(shop.dir.path(), "postgres-publication-tables", add);
    until_caught_up(shop.dir.path(), &config).expect(1).complains(&["manage_publication is false", add]);
    shop.sql.execute(add);
    shop.sql.execute("ALTER PUBLICATION p SET (publish = 'insert')");
    let operations = "ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate');";
    check_finds(shop.dir.path(), "postgres-publication-operations", operations);
    until_caught_up(shop.dir.path(), &config).expect(1).complains(&["it publishes no update", operations]);
    shop.sql.execute(operations);
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, x FROM t");

    // Where it may, the source adds the table by itself, and copies nothing twice.
    let text = std::fs::read_to_string(&config).expect("read the configuration");
    std::fs::write(&config, text.replace("public.t]", "public.t, public.nowhere]"))
        .expect("write the configuration");
    until_caught_up(shop.dir.path(), &config).expect(1).complains(&["find table public.nowhere"]);
    check_finds_table(shop.dir.path());
}

fn check_finds_table(directory: &Path) {
    millstream(directory, &["check", "millstream.yaml"])
        .expect(3)
        .prints(&["postgres-tables", "public.nowhere"]);
}

#[test]
fn a_slot_that_is_not_ours() {
    let shop = Shop::new("slot");
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    let directory = shop.dir.path();
    let refused = |parts: &[&str]| {
        only_error(&until_caught_up(directory, &config).expect(1).complains(parts));
        let drop = "SELECT pg_drop_replication_slot('millstream_shop')";
        shop.sql.execute(drop);
    };
    // Somebody's, of another plugin.
    shop.sql.execute("SELECT pg_create_logical_replication_slot('millstream_shop', 'test_decoding')");
    check_finds(directory, "postgres-slot-foreign", "set another slot in the configuration");
    refused(&["millstream_shop", "set another slot in the configuration"]);
    // Ours by its looks, but the log knows nothing of it.
    shop.sql.execute("SELECT pg_create_logical_replication_slot('millstream_shop', 'pgoutput')");
    refused(&["the log has no position of it", "SELECT pg_drop_replication_slot('millstream_shop');"]);
    // Of another database.
    let other = shop.server.create_database("other");
    other.execute("SELECT pg_create_logical_replication_slot('millstream_shop', 'pgoutput')");
    check_finds(directory, "postgres-slot-foreign", "set another slot in the configuration");
    until_caught_up(directory, &config).expect(1).complains(&["millstream_shop"]);
    other.execute("SELECT pg_drop_replication_slot('millstream_shop')");
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, x FROM t");
}

#[test]
fn a_slot_that_was_dropped_or_read_by_somebody_else_is_lost() {
    let shop = Shop::new("lost");
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    shop.sql.execute("SELECT pg_drop_replication_slot('millstream_shop')");
    shop.sql.execute("INSERT INTO t VALUES (2, 'never sent')");
    let said = until_caught_up(shop.dir.path(), &config).expect(1).complains(&[
        "slot millstream_shop",
        "no longer exists",
        "pg_drop_replication_slot('millstream_shop')",
    ]);
    only_error(&said);
    // A new one of the same name does not hide the gap.
    shop.sql.execute("SELECT pg_create_logical_replication_slot('millstream_shop', 'pgoutput')");
    until_caught_up(shop.dir.path(), &config).expect(1).complains(&["somebody else read from it"]);
    assert_eq!(sqlite::value(&shop.target(), "SELECT count(*) FROM t").as_deref(), Some("1"));
    // A service keeps running and says so.
    let mut running = shop.run(&config);
    running.wait_until("it says so", PATIENCE, || {
        crate::support::http::get(&config, "/readyz")
            .is_some_and(|(code, text)| code == 503 && text.contains("source shop is failed"))
    });
    running.stop(PATIENCE);
}

#[test]
fn another_cluster_at_the_same_url() {
    let first = Shop::new("cluster-1");
    first.sql.execute(TABLE);
    let config = first.simple("tables: [public.t]");
    first.catch_up(&config);
    // With a password it is made anew, and not a copy of the first one with the same identifier.
    let second = Shop::on("cluster-2", Options::new().scram("another"));
    second.sql.execute(TABLE);
    let text = std::fs::read_to_string(&config).expect("read the configuration");
    let text = text.replace(&first.server.socket_url("shop"), &second.server.socket_url("shop"));
    std::fs::write(&config, text).expect("write the configuration");
    until_caught_up(first.dir.path(), &config)
        .expect(1)
        .complains(&["its position is of cluster", "is cluster"]);
}

#[test]
fn a_log_that_another_process_has() {
    let shop = Shop::new("lock");
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    let target = shop.target();
    running.wait_until("the copy", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM t").as_deref() == Some("1")
    });
    // The same log by another configuration, so that not the port is what refuses.
    let text = std::fs::read_to_string(&config).expect("read the configuration");
    let address = crate::support::http::address(&config);
    let free = format!("127.0.0.1:{}", crate::support::postgres::free_port());
    let second = shop.dir.write("second.yaml", text.replace(&address, &free));
    let pid = running.pid().to_string();
    let said = millstream(shop.dir.path(), &["run", second.to_str().expect("UTF-8")]).expect(1);
    let said = said.complains(&[&format!("process {pid} has the log open"), &format!("kill {pid}")]);
    only_error(&said);
    // The same port: what has it, and what to set.
    millstream(shop.dir.path(), &["run", "millstream.yaml"])
        .expect(1)
        .complains(&[&address, "set another address"]);
    // The first one did not notice.
    shop.sql.execute("INSERT INTO t VALUES (2, 'b')");
    running.wait_until("the row", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM t").as_deref() == Some("2")
    });
    // A lock does not outlive its process.
    running.kill();
    shop.catch_up(&second);
}

#[test]
fn a_sink_table_that_does_not_fit() {
    let shop = Shop::new("misfit");
    shop.sql.execute(TABLE);
    shop.catch_up(&shop.simple("tables: [public.t]"));
    let config = shop.config(
        "tables: [public.t]",
        "  one: {type: sqlite, path: ./one.db}\n  two: {type: sqlite, path: ./two.db, create_tables: false}\n",
    );
    check_finds(shop.dir.path(), "sqlite-table-missing", "CREATE TABLE");
    let said = until_caught_up(shop.dir.path(), &config)
        .expect(1)
        .complains(&["sink two failed", "CREATE TABLE \"t\""]);
    only_error(&said);
}
