//! `millstream run`.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use connector_api::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::config::Config;
use crate::http;
use crate::http::view;
use crate::pipeline::Shutdown;
use crate::service::Service;

/// Runs until SIGINT or SIGTERM, or until every sink has applied all that was committed at the start.
///
/// # Errors
/// When something cannot be started; while running, only with `until_caught_up` and a failure that needs a person.
pub async fn run(config: Config, until_caught_up: bool) -> Result<()> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let config = Arc::new(config);
    let listener = http::bind(config.admin.listen).await?;
    let (service, loops) = Service::start(&config)?;
    info!(version = env!("CARGO_PKG_VERSION"), log = %service.log.id(), admin = %config.admin.listen, "millstream runs");
    let (stop, until) = Shutdown::new();
    let mut until_http = until.clone();
    let served = http::serve(listener, service.clone(), config, async move { until_http.requested().await });
    let served = tokio::spawn(served);
    let cleaned = tokio::spawn(service.clone().clean(until.clone()));
    let shown = tokio::spawn(progress(service.clone(), until_caught_up, until));
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        caught_up = service.caught_up(), if until_caught_up => caught_up,
    };
    info!("stopping: the transactions at hand are finished first");
    // A second signal is somebody who does not want to wait: nothing durable is lost by that.
    let stopped = tokio::select! {
        stopped = loops.stop(&service) => stopped,
        _ = terminate.recv() => Err(Error::transient("stopped before the transactions at hand were finished")),
        _ = interrupt.recv() => Err(Error::transient("stopped before the transactions at hand were finished")),
    };
    let _ = stop.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), async { (shown.await, served.await) }).await;
    cleaned.abort();
    info!("stopped");
    outcome.and(stopped)
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Error::transient("listen for signals").caused_by(error))
}

/// On a terminal, a bar for an initial copy and, for a run that ends, one for catching up; piped output shows none.
async fn progress(service: Arc<Service>, until_caught_up: bool, mut until: Shutdown) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let style = "{prefix} [{bar:30}] {human_pos}/{human_len} rows, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style);
    loop {
        tokio::select! {
            () = until.requested() => break,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let status = view::status(&service);
        let copying = status.sources.iter().find_map(|source| Some((source, source.snapshot.as_ref()?)));
        let behind: u64 = status.sinks.iter().map(|sink| sink.lag.records).sum();
        let applied: u64 = status.sinks.iter().map(|sink| sink.records).sum();
        match copying {
            Some((source, copy)) if copy.tables_done < copy.tables_total => {
                bar.set_prefix(format!(
                    "copying {} ({}/{} tables)",
                    source.name, copy.tables_done, copy.tables_total
                ));
                bar.set_length(copy.rows_estimated.max(copy.rows_done));
                bar.set_position(copy.rows_done);
            }
            _ if until_caught_up && behind > 0 => {
                bar.set_prefix("applying");
                bar.set_length(applied + behind);
                bar.set_position(applied);
            }
            _ => {}
        }
    }
    bar.finish_and_clear();
}
