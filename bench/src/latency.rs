//! Latency at a steady rate: from the source's commit timestamp to the first look that sees the row at the target.
//! One machine, one clock.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::measure::{Error, peak_memory};
use crate::native::Subscriber;
use crate::report::{percentile, spread};
use crate::source::{Source, Transport};
use crate::sqlite::Observer;
use crate::subject::Pipeline;
use crate::{Options, measure};

pub const RATE: u32 = 500;

/// The pause between two looks at the target.
const LOOK: Duration = Duration::from_micros(100);

/// One run: the sorted latencies in milliseconds, and the subject's peak memory and CPU.
struct Sample {
    latencies: Vec<f64>,
    peak: Option<u64>,
    cpu: Option<f64>,
}

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    let duration = Duration::from_secs(if options.quick { 5 } else { 30 });
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let (mut native, mut control, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        eprintln!("latency, round {}", round + 1);
        native.push(subscription(&source, duration)?);
        if let Some(binary) = subject {
            ours.push(pipeline(&source, binary, directory.path(), round, duration)?);
        }
        control.push(subscription(&source, duration)?);
    }
    println!(
        "\n## L, {RATE} single-row inserts a second for {} s, commit to visible, Unix socket, ms\n",
        duration.as_secs()
    );
    println!(
        "| what | p50 | p90 | p99 | max | CPU s | peak MiB |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    row("native subscription (`wal_retrieve_retry_interval` 50 ms)", &native);
    row("the same again (A/A)", &control);
    row("millstream into SQLite", &ours);
    println!();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let ratios = |samples: &[Sample]| {
            let pairs = samples.iter().zip(&native);
            let ratios =
                pairs.map(|(a, b)| percentile(&a.latencies, share) / percentile(&b.latencies, share));
            spread(ratios.collect(), |ratio| format!("{ratio:.2}"))
        };
        println!("- A/A, {name} of native / itself: **{}**", ratios(&control));
        if !ours.is_empty() {
            println!("- P5 {name} of millstream / native (less is better): **{}**", ratios(&ours));
        }
    }
    Ok(())
}

fn subscription(source: &Source, duration: Duration) -> Result<Sample, Error> {
    let subscriber = Subscriber::start(source);
    let latencies = observe(source, duration, || subscriber.newest());
    subscriber.stop();
    Ok(Sample { latencies: latencies?, peak: None, cpu: None })
}

fn pipeline(
    source: &Source,
    binary: &Path,
    directory: &Path,
    round: usize,
    duration: Duration,
) -> Result<Sample, Error> {
    let slot = format!("latency_{round}");
    source.create_slot(&slot);
    let pipeline = Pipeline::create(binary, directory, source, Transport::Socket, &slot, true)?;
    let target = pipeline.target.clone().ok_or("the pipeline has a target")?;
    let running = pipeline.spawn()?;
    let mut observer = Observer::new(&target);
    let latencies = observe(source, duration, || observer.newest());
    let (peak, cpu) = (peak_memory(running.pid()), measure::cpu_seconds(running.pid()));
    let latencies = latencies.map_err(|error| pipeline.explain(&error));
    running.stop().map_err(|error| pipeline.explain(&error))?;
    source.drop_slot(&slot);
    Ok(Sample { latencies: latencies?, peak, cpu })
}

/// Warms the way up, then inserts at the rate and watches the target until the last row is there.
pub fn observe(
    source: &Source,
    duration: Duration,
    mut newest: impl FnMut() -> u64,
) -> Result<Vec<f64>, Error> {
    let first = warm_up(source, &mut newest)? + 1;
    let last = first + u64::from(RATE) * duration.as_secs() - 1;
    let writer_done = AtomicBool::new(false);
    let mut visible: HashMap<u64, f64> = HashMap::new();
    let complete = scope(|scope| {
        scope.spawn(|| {
            write(source, first, last);
            writer_done.store(true, Ordering::Release);
        });
        let mut seen = first - 1;
        let mut deadline = None;
        while seen < last {
            let now_at = newest();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
            for id in seen + 1..=now_at.min(last) {
                visible.insert(id, now);
            }
            seen = seen.max(now_at);
            if writer_done.load(Ordering::Acquire)
                && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + Duration::from_secs(10))
            {
                return false;
            }
            sleep(LOOK);
        }
        true
    });
    if !complete {
        return Err("rows are missing at the target 10 s after the last commit".into());
    }
    let commits = source.session.query_text(&format!(
        "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM bench WHERE id BETWEEN {first} AND {last}"
    ));
    let mut latencies = Vec::with_capacity(commits.len());
    for row in commits {
        let [Some(id), Some(commit)] = row.as_slice() else {
            return Err("a row without a commit timestamp".into());
        };
        let seen = visible.get(&id.parse::<u64>()?).ok_or("a row that was not seen")?;
        latencies.push((seen - commit.parse::<f64>()?) * 1000.0);
    }
    latencies.sort_unstable_by(f64::total_cmp);
    Ok(latencies)
}

/// Inserts rows until one is seen at the target, so that connecting and creating tables are not in the measure.
/// Returns the last id.
fn warm_up(source: &Source, newest: &mut impl FnMut() -> u64) -> Result<u64, Error> {
    let start: u64 = source.session.value("SELECT coalesce(max(id), 0) FROM bench").parse()?;
    let began = Instant::now();
    let mut id = start;
    while newest() <= start {
        if began.elapsed() > Duration::from_secs(30) {
            return Err("nothing arrived at the target within 30 s".into());
        }
        id += 1;
        insert(source, id);
        sleep(Duration::from_millis(50));
    }
    while newest() < id && began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(500));
    Ok(id)
}

fn write(source: &Source, first: u64, last: u64) {
    let start = Instant::now();
    for id in first..=last {
        let due = Duration::from_secs(id - first) / RATE;
        sleep(due.saturating_sub(start.elapsed()));
        insert(source, id);
    }
}

fn insert(source: &Source, id: u64) {
    source.session.execute(&format!(
        "INSERT INTO bench VALUES ({id}, 'Customer number {id:09}', 'customer{id:09}@example.com', 12.34, 7, now(), true)"
    ));
}

fn row(name: &str, samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let column = |share: f64| {
        let values = samples.iter().map(|sample| percentile(&sample.latencies, share)).collect();
        spread(values, |ms| format!("{ms:.2}"))
    };
    let cpu =
        spread(samples.iter().filter_map(|sample| sample.cpu).collect(), |seconds| format!("{seconds:.2}"));
    let peak = samples.iter().filter_map(|sample| sample.peak).max();
    let peak = peak.map_or_else(|| "-".into(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
    println!(
        "| {name} | {} | {} | {} | {} | {cpu} | {peak} |",
        column(0.5),
        column(0.9),
        column(0.99),
        column(1.0)
    );
}
