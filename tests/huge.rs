//! A transaction of a million rows: in bounded memory, never visible in part, and none the worse for a SIGKILL in the
//! middle of it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::support::http;
use crate::support::process::Millstream;
use crate::support::shop::Shop;
use crate::support::sqlite;

const ROWS: u64 = 1_000_000;
/// The memory goal of the service.
const MEMORY_MAX: u64 = 100 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

/// The most memory that a process ever had, in bytes.
fn peak(process: &Millstream) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("read the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Rows of the target with each value of `n`: one group, whatever the moment.
fn groups(target: &Path) -> Vec<Vec<Option<String>>> {
    sqlite::rows(target, "SELECT n, count(*) FROM t GROUP BY n")
}

fn whole(n: u64) -> Vec<Vec<Option<String>>> {
    vec![vec![Some(n.to_string()), Some(ROWS.to_string())]]
}

/// Changes that are durable in the log since the process started.
fn captured(config: &Path) -> u64 {
    let status = http::status(config).expect("the service answers");
    status["sources"][0]["changes"].as_u64().expect("a number")
}

#[test]
fn a_million_rows_in_one_transaction() {
    if !Path::new("/proc/self/status").exists() {
        return crate::support::skip::skip("huge::a_million_rows_in_one_transaction", "no /proc here");
    }
    let shop = Shop::new("huge");
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, n int, x text)");
    let config = shop.simple("tables: [public.t]");
    let target = shop.target();
    shop.catch_up(&config);

    let mut running = shop.run(&config);
    shop.sql.execute(&format!("INSERT INTO t SELECT i, 0, 'text ' || i FROM generate_series(1, {ROWS}) i"));
    running.wait_until("the rows", PATIENCE, || {
        sleep(Duration::from_millis(100));
        let seen = groups(&target);
        assert!(seen.is_empty() || seen == whole(0), "a part is visible: {seen:?}");
        seen == whole(0)
    });
    let peak = peak(&running);
    eprintln!("huge: {} MiB at most", peak >> 20);
    assert!(peak < MEMORY_MAX, "{} MiB at most", peak >> 20);

    // Killed once while the log takes the next one, once while the target takes it.
    let before = captured(&config);
    shop.sql.execute("UPDATE t SET n = 1");
    running.wait_until("the log has a part", PATIENCE, || captured(&config) > before + ROWS / 10);
    let part = captured(&config) - before;
    running.kill();
    assert!(part < ROWS, "killed too late to mean anything");
    assert_eq!(groups(&target), whole(0));
    let mut running = shop.run(&config);
    running.wait_until("the log has all of it", PATIENCE, || {
        http::status(&config).is_some() && captured(&config) >= ROWS
    });
    running.kill();
    let seen = groups(&target);
    assert!(seen == whole(0) || seen == whole(1), "a part is visible: {seen:?}");
    eprintln!("huge: killed {} the target had it", if seen == whole(1) { "after" } else { "before" });
    shop.catch_up(&config);
    assert_eq!(groups(&target), whole(1));
    let sums = "SELECT count(*), sum(id), sum(length(x)), min(x), max(x) FROM t";
    let sums_at_source =
        "SELECT count(*), sum(id), sum(length(x)), min(x COLLATE \"C\"), max(x COLLATE \"C\") FROM t";
    assert_eq!(sqlite::rows(&target, sums), shop.sql.query_text(sums_at_source));
}
