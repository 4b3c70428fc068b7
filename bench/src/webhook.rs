//! To a webhook: end to end by millstream beside reqwest alone, with as many requests under way. Both send to a local
//! receiver that only counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use crate::contest::{self, Names, Reference, Round};
use crate::measure::{Error, Run};
use crate::receiver::Receiver;
use crate::rows::{self, Row};
use crate::source::Source;
use crate::subject::{Target, sink};
use crate::workload::{Backlog, Sizes};
use crate::{Options, Part};

/// Requests under way: the sink's own default.
const UNDER_WAY: usize = 8;

/// Changes in a request where there are many.
const BATCH: usize = 100;

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    for batch in [1, BATCH] {
        let inserts = if batch == 1 { 30_000 } else { 200_000 };
        let sizes = Sizes::with_inserts(if options.quick { inserts / 10 } else { inserts });
        let target = match batch {
            1 => "a webhook, one change a request".to_owned(),
            many => format!("a webhook, {many} changes a request"),
        };
        let reference = format!("bare reqwest, {UNDER_WAY} requests under way, bodies made before");
        let names = Names { target: &target, reference: &reference, goal: "" };
        contest::measure(options, subject, &names, &[Part::W1, Part::W2], sizes, |place| {
            Ok(Round {
                pipeline: place.pipeline(&format!("hook_{batch}"), || {
                    let hook = Hook { receiver: Receiver::start()?, before: 0, wanted: 0 };
                    let many = format!(", batch: {{max_records: {batch}}}");
                    let many = if batch == 1 { "" } else { &many };
                    let options = format!("url: \"{}\", concurrency: {UNDER_WAY}{many}", hook.receiver.url());
                    Ok((sink("out", "http", &options), hook))
                })?,
                reference: Box::new(Bare::start(sizes, batch)?),
                control: Box::new(Bare::start(sizes, batch)?),
            })
        })?;
    }
    Ok(())
}

struct Hook {
    receiver: Receiver,
    /// What had come before this workload, and what has to have come after it.
    before: u64,
    wanted: u64,
}

impl Target for Hook {
    fn begin(&mut self) {
        self.before = self.receiver.changes();
    }

    fn has(&mut self, _: &Backlog, changes: u64) -> bool {
        self.wanted = self.before + changes;
        self.receiver.changes() >= self.wanted
    }

    fn check(&mut self, _: &Source) -> Result<(), Error> {
        let found = self.receiver.changes();
        if found == self.wanted {
            return Ok(());
        }
        Err(format!("the webhook got {found} changes instead of {}", self.wanted).into())
    }
}

/// What a careful engineer would write against the driver, without an order to keep.
struct Bare {
    runtime: Runtime,
    client: reqwest::Client,
    receiver: Receiver,
    sizes: Sizes,
    batch: usize,
}

impl Bare {
    fn start(sizes: Sizes, batch: usize) -> Result<Self, Error> {
        // The client asks for one even where it does no TLS; a second round finds it in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { runtime, client: reqwest::Client::new(), receiver: Receiver::start()?, sizes, batch })
    }
}

impl Reference for Bare {
    fn take(&mut self, _: &Source, part: Part, _: &Backlog, changes: u64) -> Result<Run, Error> {
        let rows = rows::upserts(part, changes - 1, self.sizes.inserts);
        let bodies: Arc<[String]> = rows.chunks(self.batch).map(body).collect();
        let next = Arc::new(AtomicUsize::new(0));
        let before = self.receiver.changes();
        let url = self.receiver.url();
        let start = Instant::now();
        self.runtime.block_on(async {
            let tasks: Vec<_> = (0..UNDER_WAY)
                .map(|_| tokio::spawn(send(self.client.clone(), url.clone(), bodies.clone(), next.clone())))
                .collect();
            for task in tasks {
                task.await??;
            }
            Ok::<(), Error>(())
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let changes = self.receiver.changes() - before;
        if changes != rows.len() as u64 {
            return Err(format!("the webhook got {changes} changes instead of {}", rows.len()).into());
        }
        Ok(Run { changes, seconds, ..Run::default() })
    }
}

async fn send(
    client: reqwest::Client,
    url: String,
    bodies: Arc<[String]>,
    next: Arc<AtomicUsize>,
) -> Result<(), Error> {
    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        let request = client.post(&url).header("content-type", "application/json").body(body.clone());
        request.send().await?.error_for_status()?;
    }
    Ok(())
}

/// About what the sink sends.
fn body(rows: &[Row]) -> String {
    let one = |row: &Row| {
        serde_json::json!({
            "topic": "bench.public.bench", "table": "bench", "op": "insert", "key": {"id": row.id},
            "row": {"id": row.id, "name": row.name, "email": row.email, "amount": row.amount, "n": row.n,
                "created_at": row.created_at, "active": row.active},
        })
    };
    match rows {
        [row] => one(row).to_string(),
        rows => serde_json::Value::Array(rows.iter().map(one).collect()).to_string(),
    }
}
