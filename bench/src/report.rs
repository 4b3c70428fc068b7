//! Tables and ratios in Markdown.

use crate::measure::Run;

/// The runs of one thing, in the order of the rounds.
pub struct Series {
    pub name: String,
    pub runs: Vec<Run>,
}

/// The machine and the day, in one line.
pub fn machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    println!(
        "# millstream beside its references\n\n{processors} processors{model}; load before the run {}. Medians (min to max); a ratio \
         is the median of the rounds' own ratios; a difference within the spread of A/A is none.",
        load()
    );
    const TMPFS: i64 = 0x0102_1994;
    if rustix::fs::statfs(std::env::temp_dir()).is_ok_and(|fs| fs.f_type == TMPFS) {
        println!(
            "\n**The temporary directory is in memory: fsync costs nothing there. Set TMPDIR to a disk.**"
        );
    }
}

/// A table of series: rates, CPU per million changes, memory.
pub fn table(title: &str, series: &[Series]) {
    println!("\n## {title}\n");
    println!("| what | changes/s | CPU s per million | walsender's | target's | peak MiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for Series { name, runs } in series.iter().filter(|series| !series.runs.is_empty()) {
        let rate = spread(runs.iter().map(Run::rate).collect(), thousands);
        let per_million = |get: fn(&Run) -> Option<f64>| {
            let values = runs.iter().filter_map(|run| Some(get(run)? * 1e6 / run.changes as f64)).collect();
            spread(values, |seconds| format!("{seconds:.2}"))
        };
        let (cpu, sender) = (per_million(|run| run.cpu), per_million(|run| run.sender_cpu));
        let target = per_million(|run| run.target_cpu);
        let peak = runs.iter().filter_map(|run| run.peak).max();
        let peak =
            peak.map_or_else(|| "-".into(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        println!("| {name} | {rate} | {cpu} | {sender} | {target} | {peak} |");
    }
}

/// One ratio of rates: of each round, its median and its extremes.
pub fn ratio(what: &str, subject: &[Run], reference: &[Run]) {
    let ratios: Vec<f64> = subject.iter().zip(reference).map(|(a, b)| a.rate() / b.rate()).collect();
    if !ratios.is_empty() {
        println!("- {what}: **{}**", spread(ratios, |ratio| format!("{ratio:.2}")));
    }
}

/// "median (min to max)"; the value alone when there is one, "-" when there is none.
pub fn spread(mut values: Vec<f64>, show: impl Fn(f64) -> String) -> String {
    values.sort_unstable_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".into(),
        [only] => show(*only),
        [least, .., most] => format!("{} ({} to {})", show(median(&values)), show(*least), show(*most)),
    }
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The load of the machine right now, for a line beside the figures.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// The value below which `share` of the sorted values lie.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
