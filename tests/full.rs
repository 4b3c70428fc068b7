//! A disk without room: under the log, then under a target. Work stops cleanly, says so, and goes on by itself when
//! there is room again; nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::http;
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::skip::skip;
use crate::support::sqlite;

/// A small file system of its own.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// `None` where this process may not mount.
    fn new(path: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&path).expect("make a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { path })
    }

    /// Leaves less than `left` bytes free.
    fn fill(&self, left: u64) {
        let space = rustix::fs::statvfs(&self.path).expect("look at the disk");
        let free = space.f_bavail * space.f_frsize;
        fs::write(
            self.path.join("filler"),
            vec![0; usize::try_from(free.saturating_sub(left)).expect("a size")],
        )
        .expect("fill the disk");
    }

    fn free(&self) {
        fs::remove_file(self.path.join("filler")).expect("free the disk");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left may still be in it for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

const ROWS: &str = "SELECT id, length(x), sum(id) OVER () FROM t ORDER BY id";

fn count(target: &Path) -> u64 {
    sqlite::value(target, "SELECT count(*) FROM t").and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Each transaction is about a tenth of a megabyte, which nothing compresses.
fn write(shop: &Shop, from: u64, transactions: u64) {
    for at in from..from + transactions {
        shop.sql.execute(&format!(
            "INSERT INTO t SELECT {at} * 100 + i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 320) j WHERE i > 0)
             FROM generate_series(0, 9) i"
        ));
    }
}

fn wait_ready(running: &mut Millstream, config: &Path) {
    running.wait_until("it is ready", PATIENCE, || {
        http::get(config, "/readyz").is_some_and(|(code, _)| code == 200)
    });
}

#[test]
fn the_log_runs_out_of_room_and_goes_on() {
    let shop = Shop::new("full-log");
    let Some(disk) = Disk::new(shop.dir.join("data"), "16m") else {
        return skip("full::the_log_runs_out_of_room_and_goes_on", "this process may not mount");
    };
    shop.sql.execute("CREATE TABLE t(id bigint PRIMARY KEY, x text)");
    let config = shop.simple("tables: [public.t], heartbeat: 1s");
    let target = shop.target();
    let mut running = shop.run(&config);
    write(&shop, 0, 1);
    running.wait_until("the first rows", PATIENCE, || count(&target) == 10);
    disk.fill(512 << 10);
    write(&shop, 1, 20);
    running.wait_until("status says so", PATIENCE, || {
        let status = http::status(&config).expect("the service answers");
        let failure = status["sources"][0]["failure"]["message"].as_str().unwrap_or_default().to_owned();
        failure.contains("No space left") || failure.contains("no storage space")
    });
    let (code, reasons) = http::get(&config, "/readyz").expect("an answer");
    assert!(code == 503 && reasons.contains("source shop"), "{reasons}");
    let status = http::status(&config).expect("the service answers");
    assert!(status["log"]["poisoned"].is_null(), "a full disk does not poison the log: {status}");
    // Whole transactions only, also now.
    assert_eq!(count(&target) % 10, 0);
    write(&shop, 21, 5);
    disk.free();
    running.wait_until("all rows", PATIENCE, || count(&target) == 260);
    wait_ready(&mut running, &config);
    shop.same(&target, ROWS);

    // Killed while it is full: nothing is lost either.
    disk.fill(256 << 10);
    write(&shop, 26, 10);
    running.wait_until("it fails again", PATIENCE, || {
        http::get(&config, "/readyz").is_some_and(|(code, _)| code == 503)
    });
    running.kill();
    disk.free();
    shop.catch_up(&config);
    shop.same(&target, ROWS);
}

#[test]
fn a_target_runs_out_of_room_and_goes_on() {
    let shop = Shop::new("full-target");
    let Some(disk) = Disk::new(shop.dir.join("small"), "16m") else {
        return skip("full::a_target_runs_out_of_room_and_goes_on", "this process may not mount");
    };
    shop.sql.execute("CREATE TABLE t(id bigint PRIMARY KEY, x text)");
    let sinks = "  one: {type: sqlite, path: ./one.db}\n  two: {type: sqlite, path: ./small/two.db}\n";
    let config = shop.config("tables: [public.t]", sinks);
    let (one, two) = (shop.target(), disk.path.join("two.db"));
    let mut running = shop.run(&config);
    write(&shop, 0, 1);
    running.wait_until("the first rows", PATIENCE, || count(&one) == 10 && count(&two) == 10);
    disk.fill(512 << 10);
    write(&shop, 1, 20);
    running.wait_until("the other sink has them all", PATIENCE, || count(&one) == 210);
    running.wait_until("status says so", PATIENCE, || {
        let status = http::status(&config).expect("the service answers");
        status["sinks"][1]["failure"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("full") || message.contains("I/O"))
    });
    let (code, reasons) = http::get(&config, "/readyz").expect("an answer");
    assert!(code == 503 && reasons.contains("sink two is retrying"), "{reasons}");
    let status = http::status(&config).expect("the service answers");
    assert_eq!(status["sinks"][1]["dead_letters"], 0, "a full disk is nobody's fault: {status}");
    assert_eq!(count(&two) % 10, 0, "whole transactions only");
    write(&shop, 21, 5);
    disk.free();
    running.wait_until("all rows", PATIENCE, || count(&two) == 260);
    wait_ready(&mut running, &config);
    for target in [&one, &two] {
        shop.same(target, ROWS);
    }
    running.stop(PATIENCE);
}
