//! Into Redis: end to end by millstream beside the bare driver, pipelines of 1,000 in MULTI over one connection.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use redis::{Client, Connection};
use throwaway_servers::redis::Redis;

use crate::contest::{self, Names, Reference, Round};
use crate::measure::{Error, Run};
use crate::rows;
use crate::source::Source;
use crate::subject::{Target, quote, sink};
use crate::workload::{Backlog, Sizes};
use crate::{Options, Part};

const GROUP: usize = 1000;

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    if !Redis::is_installed() {
        return Err("Redis is not on this machine: apt-get install redis-server".into());
    }
    let sizes = Sizes::with_inserts(if options.quick { 20_000 } else { 200_000 });
    let names = Names { target: "Redis", reference: "bare driver, MULTI with 1,000 HSET", goal: "" };
    contest::measure(options, subject, &names, &[Part::W1, Part::W2], sizes, |place| {
        Ok(Round {
            pipeline: place.pipeline("into_redis", || {
                let keys = Keys::start()?;
                Ok((sink("out", "redis", &format!("url: {}", quote(&keys.server.url()))), keys))
            })?,
            reference: Box::new(Bare { keys: Keys::start()?, sizes }),
            control: Box::new(Bare { keys: Keys::start()?, sizes }),
        })
    })
}

/// A server of its own, that writes its append-only file before each answer, with hashes `bench:ID`.
struct Keys {
    server: Rc<Redis>,
    connection: Connection,
}

impl Keys {
    fn start() -> Result<Self, Error> {
        // Its files are written anew when they have doubled: not within a run.
        let server = Rc::new(Redis::start(&["--auto-aof-rewrite-percentage 0"]));
        let connection = Client::open(server.url())?.get_connection()?;
        Ok(Self { server, connection })
    }
}

impl Target for Keys {
    fn has(&mut self, backlog: &Backlog, _changes: u64) -> bool {
        let key = format!("bench:{}", backlog.sentinel);
        redis::cmd("EXISTS").arg(key).query::<bool>(&mut self.connection).unwrap_or(false)
    }

    /// `n` of every row, which is what both workloads change.
    fn check(&mut self, source: &Source) -> Result<(), Error> {
        let rows = source.session.query_text("SELECT id, n FROM bench");
        for group in rows.chunks(10_000) {
            let mut pipe = redis::pipe();
            for row in group {
                let id = row.first().cloned().flatten().unwrap_or_default();
                pipe.cmd("HGET").arg(format!("bench:{id}")).arg("n");
            }
            let found: Vec<Option<String>> = pipe.query(&mut self.connection)?;
            let wanted = group.iter().map(|row| row.get(1).cloned().flatten());
            if let Some((wanted, found)) = wanted.zip(found).find(|(wanted, found)| wanted != found) {
                return Err(
                    format!("the copy in Redis differs: n is {wanted:?} there, {found:?} here").into()
                );
            }
        }
        Ok(())
    }
}

/// What a careful engineer would write against the driver.
struct Bare {
    keys: Keys,
    sizes: Sizes,
}

impl Reference for Bare {
    fn take(&mut self, _: &Source, part: Part, _: &Backlog, changes: u64) -> Result<Run, Error> {
        let rows = rows::upserts(part, changes - 1, self.sizes.inserts);
        let start = Instant::now();
        for group in rows.chunks(GROUP) {
            let mut pipe = redis::pipe();
            pipe.atomic();
            for row in group {
                pipe.cmd("HSET").arg(format!("bench:{}", row.id)).arg("id").arg(row.id);
                pipe.arg("name").arg(&row.name).arg("email").arg(&row.email).arg("amount").arg(&row.amount);
                pipe.arg("n").arg(row.n).arg("created_at").arg(&row.created_at);
                pipe.arg("active").arg(row.active).ignore();
            }
            pipe.exec(&mut self.keys.connection)?;
        }
        Ok(Run { changes: rows.len() as u64, seconds: start.elapsed().as_secs_f64(), ..Run::default() })
    }
}
