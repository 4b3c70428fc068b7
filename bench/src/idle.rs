//! What the subject costs when there is nothing to do, and how soon it streams after its start.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Options;
use crate::measure::{Error, cpu_seconds, peak_memory};
use crate::report::spread;
use crate::source::{Source, Transport};
use crate::sqlite::Observer;
use crate::subject::Pipeline;

pub fn measure(options: &Options, binary: &Path) -> Result<(), Error> {
    let idle = Duration::from_secs(if options.quick { 5 } else { 30 });
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let (mut starts, mut shares, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        eprintln!("memory, round {}", round + 1);
        let slot = format!("idle_{round}");
        source.create_slot(&slot);
        let pipeline = Pipeline::create(binary, directory.path(), &source, Transport::Socket, &slot, true)?;
        let target = pipeline.target.clone().ok_or("the pipeline has a target")?;
        // A row that waits before the start: when it is visible, everything between has begun.
        let id = round as u64 + 1;
        source.session.execute(&format!("INSERT INTO bench(id, name) VALUES ({id}, 'first')"));
        let mut observer = Observer::new(&target);
        let start = Instant::now();
        let running = pipeline.spawn()?;
        while !observer.sees(id) {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(pipeline.explain(&"nothing arrived at the target within 30 s".into()));
            }
            sleep(Duration::from_millis(1));
        }
        starts.push(start.elapsed().as_secs_f64() * 1000.0);
        // The start's own work ends first.
        sleep(Duration::from_secs(2));
        let before = cpu_seconds(running.pid()).ok_or("the process ended")?;
        sleep(idle);
        let after = cpu_seconds(running.pid()).ok_or("the process ended")?;
        shares.push((after - before) / idle.as_secs_f64() * 100.0);
        peaks.extend(peak_memory(running.pid()).map(|bytes| bytes as f64 / f64::from(1 << 20)));
        running.stop().map_err(|error| pipeline.explain(&error))?;
        source.drop_slot(&slot);
    }
    println!("\n## Idle\n");
    println!(
        "- process start to the first row visible in a new SQLite target, ms: **{}**",
        spread(starts, |ms| format!("{ms:.0}"))
    );
    println!(
        "- idle CPU over {} s, % of a core: **{}**",
        idle.as_secs(),
        spread(shares, |share| format!("{share:.2}"))
    );
    println!("- peak resident memory, MiB: **{}**", spread(peaks, |mib| format!("{mib:.1}")));
    Ok(())
}
