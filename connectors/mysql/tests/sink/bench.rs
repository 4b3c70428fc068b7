//! Rows a second beside the fastest loop over the bare driver. Run with
//! `cargo test --release -p connector-mysql -- --ignored --nocapture bench`.

use std::time::{Duration, Instant};

use connector_api::{Delivery, Value, ValueKind};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, QueryBuilder};
use throwaway_servers::mariadb::{self, MariaDb};

use crate::fixture::{Harness, Table, installed, runtime, table};

const ROWS: i64 = 20_000;
const ROUNDS: usize = 3;

fn bench_table() -> Table {
    let kinds = [
        ("id", ValueKind::Int),
        ("name", ValueKind::Text),
        ("email", ValueKind::Text),
        ("n", ValueKind::Int),
        ("at", ValueKind::TimestampTz),
        ("active", ValueKind::Bool),
    ];
    table("bench", &kinds, &[0])
}

/// A number that looks random, the same in every run.
fn scatter(id: i64) -> i64 {
    (id.wrapping_mul(7_919) + 13).rem_euclid(ROWS)
}

fn row<'a>(id: i64, name: &'a str, email: &'a str, n: i64) -> [Value<'a>; 6] {
    let at = Value::TimestampTz(id * 1_000_000);
    [Value::Int(id), Value::Text(name), Value::Text(email), Value::Int(n), at, Value::Bool(id % 2 == 0)]
}

#[derive(Clone, Copy, PartialEq)]
enum Load {
    Insert,
    Update,
    Delete,
}

fn deliveries(h: &mut Harness, table: &Table, load: Load, batch: i64) -> Vec<Delivery> {
    let mut all = Vec::new();
    for at in 0..ROWS {
        let id = if load == Load::Insert { at } else { scatter(at) };
        let (name, email) = (format!("name of {id}"), format!("{id}@example.com"));
        match load {
            Load::Insert => h.feed.insert(table, &row(id, &name, &email, 0)),
            Load::Update => h.feed.update(table, &row(id, &name, &email, at + 1)),
            Load::Delete => h.feed.delete(table, &[Value::Int(id)]),
        };
        if (at + 1) % batch == 0 {
            all.push(h.feed.take());
        }
    }
    all
}

fn ours(h: &mut Harness, table: &Table, load: Load, batch: i64) -> Duration {
    let deliveries = deliveries(h, table, load, batch);
    let begun = Instant::now();
    for delivery in &deliveries {
        assert!(h.apply(delivery).unwrap().is_empty());
        h.commit(delivery).unwrap();
    }
    begun.elapsed()
}

/// What a careful engineer would write over sqlx: one transaction a batch, statements for many rows; prepared with bound
/// values, or text without them (numbers and harmless texts only, so that nothing has to be escaped).
async fn bare(connection: &mut MySqlConnection, load: Load, batch: i64, prepared: bool) -> Duration {
    let begun = Instant::now();
    let mut from = 0;
    while from < ROWS {
        let mut transaction = connection.begin().await.unwrap();
        let ids: Vec<i64> =
            (from..from + batch).map(|at| if load == Load::Insert { at } else { scatter(at) }).collect();
        // Within the limit of 65,535 placeholders.
        for ids in ids.chunks(if load == Load::Delete { 1_000 } else { 2_000 }) {
            match prepared {
                true => {
                    let mut sql = bound(load, ids, from);
                    transaction
                        .execute(sql.build().persistent(ids.len() as i64 == batch.min(1_000)))
                        .await
                        .unwrap();
                }
                false => {
                    transaction.execute(AssertSqlSafe(plain(load, ids, from))).await.unwrap();
                }
            }
        }
        transaction.execute("UPDATE cursors SET n = n + 1").await.unwrap();
        transaction.commit().await.unwrap();
        from += batch;
    }
    begun.elapsed()
}

const TAIL: &str = " ON DUPLICATE KEY UPDATE name = VALUES(name), email = VALUES(email), n = VALUES(n), \
                    at = VALUES(at), active = VALUES(active)";

fn bound(load: Load, ids: &[i64], from: i64) -> QueryBuilder<MySql> {
    if load == Load::Delete {
        let mut sql = QueryBuilder::new("DELETE FROM bench WHERE id IN (");
        let mut list = sql.separated(",");
        for id in ids {
            list.push_bind(*id);
        }
        sql.push(")");
        return sql;
    }
    let mut sql = QueryBuilder::new("INSERT INTO bench (id, name, email, n, at, active) ");
    sql.push_values(ids, |mut row, id| {
        row.push_bind(*id)
            .push_bind(format!("name of {id}"))
            .push_bind(format!("{id}@example.com"))
            .push_bind(from + 1)
            .push_bind(moment(*id))
            .push_bind(id % 2 == 0);
    });
    sql.push(TAIL);
    sql
}

fn moment(id: i64) -> String {
    format!("2000-01-{:02} {:02}:{:02}:{:02}", 1 + id / 86_400, id / 3_600 % 24, id / 60 % 60, id % 60)
}

fn plain(load: Load, ids: &[i64], from: i64) -> String {
    use std::fmt::Write;
    let mut sql = String::with_capacity(1 << 20);
    sql.push_str(match load {
        Load::Delete => "DELETE FROM bench WHERE id IN (",
        _ => "INSERT INTO bench (id, name, email, n, at, active) VALUES ",
    });
    for (at, id) in ids.iter().enumerate() {
        let separator = if at == 0 { "" } else { "," };
        let _ = match load {
            Load::Delete => write!(sql, "{separator}{id}"),
            _ => write!(
                sql,
                "{separator}({id},'name of {id}','{id}@example.com',{},'{}',{})",
                from + 1,
                moment(*id),
                id % 2
            ),
        };
    }
    sql.push_str(if load == Load::Delete { ")" } else { TAIL });
    sql
}

#[test]
#[ignore = "a measurement"]
fn bench_rows_a_second_beside_the_bare_driver() {
    if !installed("bench") {
        return;
    }
    let server = MariaDb::start(mariadb::Options::new().durable().setting("--innodb-buffer-pool-size=512M"));
    let mut h = Harness::at(&server, |_| {}, "CREATE TABLE cursors (n int); INSERT INTO cursors VALUES (0)");
    let bench = bench_table();
    h.route(&[&bench]);
    h.feed.insert(&bench, &row(-1, "", "", 0));
    h.deliver();
    let runtime = runtime();
    let mut connection = runtime.block_on(MySqlConnection::connect(h.options.url.expose())).unwrap();
    println!(
        "rows/s, median of {ROUNDS} (min-max): load, batch, sink, bare prepared, bare text, ratio to the faster"
    );
    for batch in [1_000, 10_000, 100] {
        let mut times: [[Vec<f64>; 3]; 3] = Default::default();
        for _ in 0..ROUNDS {
            for who in [0, 1, 2] {
                h.session.execute("DELETE FROM bench");
                for (at, load) in [Load::Insert, Load::Update, Load::Delete].into_iter().enumerate() {
                    let took = match who {
                        0 => ours(&mut h, &bench, load, batch),
                        who => runtime.block_on(bare(&mut connection, load, batch, who == 1)),
                    };
                    times[at][who].push(ROWS as f64 / took.as_secs_f64());
                }
                assert_eq!(h.rows("SELECT count(*) FROM bench"), ["0"]);
            }
        }
        for (name, mut times) in ["insert", "update", "delete"].into_iter().zip(times) {
            let mut middle = [0.0; 3];
            print!("{name:7} {batch:6}");
            for (who, rates) in times.iter_mut().enumerate() {
                rates.sort_by(f64::total_cmp);
                middle[who] = rates[ROUNDS / 2];
                print!("  {:8.0} ({:.0}-{:.0})", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
            }
            println!("  {:.2}", middle[0] / middle[1].max(middle[2]));
        }
    }
}
